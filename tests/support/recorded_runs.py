"""Runs of a real tracker, and one that is killed; the journal, read without Delve."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from delve import SaturationTracker

RARE = 3  # the scalar "rare" is logged at every third epoch


class Killer:
    """A writer that ends the process by SIGKILL once the journal holds an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def save(self, epoch: int) -> None:
        if epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGKILL)


def record(
    folder: Path,
    save_to: str | object | Sequence[str | object],
    epochs: Iterable[int],
    **options: Any,
) -> None:
    """Record epochs of a small network, with a scalar at each and one that comes rarely."""
    epochs = list(epochs)
    with _tracked(folder, save_to, epochs[0], options) as (tracker, model):
        for epoch in epochs:
            _epoch(tracker, model, epoch)


def record_and_die(
    folder: Path, save_to: str, epochs: Iterable[int], where: str = "mid-epoch", **options: Any
) -> None:
    """As :func:`record`, in a process that SIGKILL ends in the epoch after the last one.

    Args:
        where: ``mid-epoch``: after a forward pass and a scalar; ``before-writer``: the journal
            holds the epoch and the writer does not.
    """
    call = [str(folder), save_to, list(epochs), where, options]
    inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *inherited])
    environment = os.environ | {"PYTHONPATH": path}
    code = (
        "import json, sys; from support.recorded_runs import _die; _die(*json.loads(sys.argv[1]))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, json.dumps(call)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr


def journal_lines(folder: Path, damaged: bool = False) -> Iterator[dict[str, Any]]:
    """The objects of the journal's lines; with ``damaged`` what is no object is passed over."""
    return lines_of((folder / "journal.jsonl").read_bytes(), damaged)


def lines_of(journal: bytes, damaged: bool = False) -> Iterator[dict[str, Any]]:
    """The same for a journal that was read."""
    for line in journal.split(b"\n"):
        try:
            if line:
                yield json.loads(line)
        except ValueError:
            if not damaged:
                raise


def journal_entries(folder: Path, damaged: bool = False) -> dict[int, dict[str, Any]]:
    """The journal's line of each epoch, but for those that a resume or an earlier epoch made void.

    Args:
        folder: The run's folder.
        damaged: Whether lines that cannot be read are passed over.
    """
    return epochs_in_force(journal_lines(folder, damaged))


def epochs_in_force(lines: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The epochs that these lines add up to."""
    entries: dict[int, dict[str, Any]] = {}
    for entry in lines:
        if entry["type"] in ("resume", "epoch"):
            entries = {epoch: kept for epoch, kept in entries.items() if epoch < entry["epoch"]}
        if entry["type"] == "epoch":
            entries[entry["epoch"]] = entry
    return entries


def journal_rows(folder: Path, damaged: bool = False) -> dict[int, dict[str, float]]:
    """All values of each epoch in the journal, by name; see :func:`journal_entries`."""
    return {
        epoch: {
            name: float(value) for name, value in {**entry["scalars"], **entry["metrics"]}.items()
        }
        for epoch, entry in journal_entries(folder, damaged).items()
    }


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


def _die(folder: str, save_to: str, epochs: list[int], where: str, options: dict[str, Any]) -> None:
    last = epochs[-1] + 1
    killer = Killer(last)
    with _tracked(Path(folder), [killer, save_to], epochs[0], options) as (tracker, model):
        for epoch in epochs:
            _epoch(tracker, model, epoch)
        _log(tracker, model, last)
        if where == "mid-epoch":
            os.kill(os.getpid(), signal.SIGKILL)
        tracker.add_saturations()
