"""A checkpoint of a loop, and the row that belongs to its step, which Accelerate does not know."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from delve.base import get_logger
from delve.files import open_plain, replacing

_NAME = "delve-row.json"
_NO_ROW = -1  # is the step of none

logger = get_logger(__name__)


class Checkpoint:
    """A checkpoint that was written or loaded, and whether the loop still stands there.

    Args:
        folder: Its folder.
        model: The model, whose first training pass after it leads away from it.
        leave: Called then, or by :meth:`leave`, once.
    """

    def __init__(
        self, folder: str, model: nn.Module, leave: Callable[[], None] = lambda: None
    ) -> None:
        self.folder = folder
        self.is_last = True  # no training pass came since
        self._leave = leave
        self._hook = model.register_forward_pre_hook(self._before_a_pass)

    def leave(self) -> None:
        """The training goes on from here."""
        self._hook.remove()
        if self.is_last:
            self.is_last = False
            self._leave()

    def _before_a_pass(self, model: nn.Module, inputs: Any) -> None:
        if model.training and torch.is_grad_enabled():
            self.leave()


def note_row(checkpoint: str | os.PathLike[str], step: int | None) -> None:
    """Keep in a checkpoint that a row is about to be taken before the training goes on behind it.

    It counts only if the row is in the journal too, so whoever is killed in between lost nothing.

    Args:
        checkpoint: The checkpoint's folder.
        step: What the row was given, None where the x axis is the epoch.
    """
    try:
        with replacing(Path(checkpoint) / _NAME) as file:
            file.write(json.dumps({"step": step}).encode())
    except OSError as error:
        logger.warning(
            "%s: the row taken after this checkpoint could not be noted in it (%s); a training "
            "that goes on from there records it again",
            checkpoint,
            error,
        )


def forget_row(checkpoint: str | os.PathLike[str]) -> None:
    """Of a checkpoint that is written over, or whose row was not recorded."""
    try:
        (Path(checkpoint) / _NAME).unlink(missing_ok=True)
    except OSError as error:
        logger.debug("%s: the note of a row stays", checkpoint, exc_info=error)


def step_of_row(checkpoint: str | os.PathLike[str]) -> int | None:
    """The step of the row that was noted; a number that no row has where none was."""
    path = Path(checkpoint) / _NAME
    try:
        with open(path, "rb", opener=lambda _, flags: open_plain(path, flags)) as file:
            noted = json.load(file)
    except (OSError, ValueError):
        return _NO_ROW
    match noted:
        case {"step": int() | None as step}:
            return step
        case _:
            return _NO_ROW
