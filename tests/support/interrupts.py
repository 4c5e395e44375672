"""A training of three epochs, in the second of which a signal comes at a chosen bytecode."""

from __future__ import annotations

import contextlib
import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from delve import SaturationTracker
from delve.journal.stored_run import read_run
from support.bytecodes import Bytecodes
from support.tally import Point, Tally

EPOCHS = 3
Interrupted = type[BaseException] | tuple[type[BaseException], ...]

CALLS = ("add_saturations", "save", "add_scalar", "close")  # in which the signal comes


class Rows:
    """A writer that keeps what it was given, and how often each epoch was saved."""

    def __init__(self) -> None:
        self.row: dict[str, float] = {}
        self.rows: dict[int, dict[str, float]] = {}
        self.closed = 0

    def add_scalar(self, name: str, value: float) -> None:
        """Take a scalar."""
        self.row[name] = value

    def add_scalars(self, value_dict: dict[str, float]) -> None:
        """Take the layer metrics."""
        self.row.update(value_dict)

    def save(self, epoch: int) -> None:
        """The epoch is complete."""
        self.rows[epoch], self.row = self.row, {}

    def close(self) -> None:
        """The run has ended."""
        self.closed += 1


class Training:
    """Three epochs, in the second of which a signal comes.

    Args:
        folder: The run's folder.
        how: The call in which it comes, of :data:`CALLS`.
    """

    def __init__(self, folder: Path, how: str) -> None:
        torch.manual_seed(0)
        self.folder, self.how = folder, how
        self.rows = Rows()
        self.layer = nn.Linear(4, 3)
        self.tracker = SaturationTracker(folder, [self.rows, "csv", "npy"], {"fc": self.layer})

    def epoch(self, end: Callable[[Callable[[], Any]], Any]) -> None:
        """One epoch, whose chosen call is made by ``end``."""
        self.layer(torch.randn(16, 4))
        if self.how == "add_scalar":
            end(lambda: self.tracker.add_scalar("loss", 1 / (self.tracker.epoch + 1)))
            self.tracker.add_scalar("loss", 1 / (self.tracker.epoch + 1))
        else:
            self.tracker.add_scalar("loss", 1 / (self.tracker.epoch + 1))
        if self.how == "add_saturations":
            end(self.tracker.add_saturations)
        elif self.how == "save":
            self.tracker.add_saturations(save=False)
            end(self.tracker.save)
        else:
            self.tracker.add_saturations()

    def run(self, bytecodes: Bytecodes, interrupted: Interrupted = KeyboardInterrupt) -> None:
        """Train to the end, and on where what the signal raises is one of ``interrupted``."""
        while self.tracker.epoch < EPOCHS:
            begun = self.tracker.epoch
            if begun == 1:
                try:
                    self.epoch(bytecodes.run)
                except interrupted:
                    if self.tracker.epoch == begun:  # not recorded: the user runs the cell again
                        self.tracker.add_scalar("loss", 1 / (begun + 1))
                        self.tracker.add_saturations()
            else:
                self.epoch(lambda call: call())
        if self.how == "close":
            with contextlib.suppress(interrupted):
                bytecodes.run(self.tracker.close)
        self.tracker.close()


def points(how: str, folder: Path, most: int | None, rng: random.Random) -> list[int]:
    """The bytecodes of a call at which to try a signal: all, or a sample of so many."""
    bytecodes = Bytecodes()
    Training(folder, how).run(bytecodes)
    there = range(bytecodes.count)
    return sorted(rng.sample(there, len(there) if most is None else min(most, len(there))))


def faults(training: Training, epochs: int = EPOCHS, tally: Tally | None = None) -> list[str]:
    """What is not as it would be without the signal.

    Args:
        training: It, at its end.
        epochs: How many it was to record.
        tally: Where to count the epochs compared.
    """
    expected = {epoch: {"loss": 1 / (epoch + 1)} for epoch in range(epochs)}
    records = read_run(training.folder).records
    with (training.folder / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    held: dict[str, list[Point]] = {
        "journal": [(r.epoch, name, value) for r in records for name, value in r.scalars.items()],
        "csv": [(int(row["epoch"]), "loss", float(row["loss"])) for row in table],
        "writer": [(epoch, "loss", row["loss"]) for epoch, row in training.rows.rows.items()],
    }
    for points in held.values():
        if tally:
            tally.count(points, expected)
    wanted = [
        (epoch, name, value) for epoch, row in expected.items() for name, value in row.items()
    ]
    found = {name: points != wanted for name, points in held.items()} | {
        "metrics": any(len(r.metrics) != 1 for r in records),
        "saturation": not all(0 < float(row["train-saturation/fc"] or 0) <= 1 for row in table),
        "closed": training.rows.closed != 1,
        "hooks": bool(training.layer._forward_hooks),
    }
    return [name for name, is_wrong in found.items() if is_wrong]
