"""Whether a forward pass is one of training or of evaluation: the model says so, or the user."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

from delve.errors import ArgumentError
from delve.records import MODES

OFF = "off"


class PassMode:
    """The mode of the forward passes, as the tracked model has it unless the user says it."""

    def __init__(self) -> None:
        # The innermost last, each a value of its own: blocks of two threads may end in any order.
        self._blocks: tuple[tuple[object, str], ...] = ()

    @property
    def _said(self) -> str | None:
        blocks = self._blocks
        return blocks[-1][1] if blocks else None

    @property
    def is_off(self) -> bool:
        """Whether passes are no data now."""
        return self._said == OFF

    def of(self, root: str) -> str:
        """The mode of a pass whose tracked model is in the mode ``root``."""
        return self._said or root

    def said(self, mode: Any) -> contextlib.AbstractContextManager[None]:
        """A block within which passes are of ``mode``, whatever the model says.

        Raises:
            ArgumentError: It is neither a mode nor ``off``.
        """
        if mode not in (*MODES, OFF):
            raise ArgumentError(f"mode must be one of 'train', 'eval' and 'off', not {mode!r}")
        return self._within(mode)

    @contextlib.contextmanager
    def _within(self, mode: str) -> Iterator[None]:
        block = (object(), mode)
        self._blocks = (*self._blocks, block)
        try:
            yield
        finally:
            self._blocks = tuple(one for one in self._blocks if one is not block)


def mode_of(root: nn.Module) -> str:
    """The mode that a module is in."""
    return "train" if root.training else "eval"
