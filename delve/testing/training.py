"""A small training with a real tracker, and one that SIGKILL ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from delve.tracker import SaturationTracker

RARE = 3  # the scalar "rare/score" is logged at every third epoch


class Killer:
    """A writer that ends the process by SIGKILL once the journal holds an epoch.

    Args:
        epoch: The epoch; writers that are named behind this one do not get it any more.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def save(self, epoch: int) -> None:
        """The epoch is complete: end, if it is the one."""
        if epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGKILL)


def train(
    folder: Path,
    save_to: str | object | Sequence[str | object],
    epochs: Iterable[int],
    **options: Any,
) -> None:
    """Record epochs of a small network: two layers, a scalar at each epoch and one that is rare.

    Args:
        folder: The run's folder.
        save_to: The writers, as for :class:`delve.SaturationTracker`.
        epochs: The epochs, one after another; the first is ``initial_epoch``.
        options: More arguments of the tracker's.
    """
    epochs = list(epochs)
    with _tracked(folder, save_to, epochs[0], options) as (tracker, model):
        for epoch in epochs:
            _epoch(tracker, model, epoch)


def train_and_die(
    folder: Path,
    save_to: str,
    epochs: Iterable[int],
    where: Literal["mid-epoch", "before-writer"] = "mid-epoch",
    **options: Any,
) -> None:
    """As :func:`train`, in a process that SIGKILL ends in the epoch after the last one.

    Args:
        folder: The run's folder.
        save_to: The name of an installed writer.
        epochs: The epochs that are recorded whole.
        where: ``mid-epoch``: after a forward pass and a scalar; ``before-writer``: the journal
            holds the epoch and the writer does not.
        options: More arguments of the tracker's, such that JSON can hold them.
    """
    call = [str(folder), save_to, list(epochs), where, options]
    code = "import json, sys; from delve.testing.training import die; die(*json.loads(sys.argv[1]))"
    child = subprocess.run(
        [sys.executable, "-c", code, json.dumps(call)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr


def die(folder: str, save_to: str, epochs: list[int], where: str, options: dict[str, Any]) -> None:
    """What the process of :func:`train_and_die` does."""
    last = epochs[-1] + 1
    with _tracked(Path(folder), [Killer(last), save_to], epochs[0], options) as (tracker, model):
        for epoch in epochs:
            _epoch(tracker, model, epoch)
        _log(tracker, model, last)
        if where == "mid-epoch":
            os.kill(os.getpid(), signal.SIGKILL)
        tracker.add_saturations()


@contextlib.contextmanager
def _tracked(
    folder: Path, save_to: Any, first: int, options: dict[str, Any]
) -> Iterator[tuple[SaturationTracker, nn.Module]]:
    torch.manual_seed(first)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    with SaturationTracker(folder, save_to, model, initial_epoch=first, **options) as tracker:
        yield tracker, model


def _epoch(tracker: SaturationTracker, model: nn.Module, epoch: int) -> None:
    _log(tracker, model, epoch)
    tracker.add_saturations()


def _log(tracker: SaturationTracker, model: nn.Module, epoch: int) -> None:
    model.train()(torch.randn(32, 6))
    model.eval()(torch.randn(32, 6))
    tracker.add_scalar("accuracy", epoch / 10)
    if epoch % RARE == 0:
        tracker.add_scalar("rare/score", float(epoch))
