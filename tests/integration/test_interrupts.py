"""A signal at any bytecode of an epoch's end costs no epoch and doubles none.

A sample of the points is tried; ``DELVE_SWEEP=all`` tries each of them.
"""

import contextlib
import csv
import os
import random
import signal

import pytest
import torch
from support.bytecodes import Bytecodes
from torch import nn

from delve import SaturationTracker
from delve.recorded_run import read_run

pytest.importorskip("delve_csv")
pytest.importorskip("delve_npy")

EPOCHS = 3
SAMPLE = 60


class Rows:
    """A writer that keeps what it was given, and how often each epoch was saved."""

    def __init__(self):
        self.row, self.rows, self.closed = {}, {}, 0

    def add_scalar(self, name, value):
        self.row[name] = value

    def add_scalars(self, value_dict):
        self.row.update(value_dict)

    def save(self, epoch):
        self.rows[epoch], self.row = self.row, {}

    def close(self):
        self.closed += 1


class Training:
    """Three epochs, in the second of which a signal comes."""

    def __init__(self, folder, how):
        torch.manual_seed(0)
        self.folder, self.how = folder, how
        self.rows = Rows()
        self.layer = nn.Linear(4, 3)
        self.tracker = SaturationTracker(folder, [self.rows, "csv", "npy"], {"fc": self.layer})

    def epoch(self, end):
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

    def run(self, bytecodes, interrupted):
        """Train; returns whether it came to its end."""
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


def points(how, folder):
    bytecodes = Bytecodes()
    Training(folder / "count", how).run(bytecodes, KeyboardInterrupt)
    chosen = range(bytecodes.count)
    if os.environ.get("DELVE_SWEEP") == "all":
        return chosen
    return sorted(random.Random(how).sample(chosen, min(SAMPLE, len(chosen))))


def faults(training, epochs=EPOCHS):
    """What is not as it would be without the signal."""
    expected = {epoch: 1 / (epoch + 1) for epoch in range(epochs)}
    records = read_run(training.folder).records
    with (training.folder / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    found = {
        "journal": [(r.epoch, r.scalars, len(r.metrics)) for r in records]
        != [(epoch, {"loss": value}, 1) for epoch, value in expected.items()],
        "csv": [(int(row["epoch"]), float(row["loss"])) for row in table] != list(expected.items()),
        "saturation": not all(0 < float(row["train-saturation/fc"] or 0) <= 1 for row in table),
        "writer": {epoch: row.get("loss") for epoch, row in training.rows.rows.items()} != expected,
        "closed": training.rows.closed != 1,
        "hooks": bool(training.layer._forward_hooks),
    }
    return [name for name, is_wrong in found.items() if is_wrong]


@pytest.mark.parametrize("how", ["add_saturations", "save", "add_scalar", "close"])
def test_a_ctrl_c_at_any_bytecode_costs_no_epoch(how, tmp_path):
    wrong = {}
    for at in points(how, tmp_path):
        training = Training(tmp_path / str(at), how)
        training.run(Bytecodes(at=at), KeyboardInterrupt)
        if problems := faults(training):
            wrong[at] = problems
    assert not wrong


@pytest.mark.parametrize("how", ["add_saturations", "save", "add_scalar", "close"])
def test_a_handler_that_closes_and_exits_ends_the_run_whole(how, tmp_path):
    """As on SLURM and spot machines."""
    wrong = {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        for at in points(how, tmp_path):
            training = Training(tmp_path / str(at), how)

            def end(*_, training=training):
                training.tracker.close()
                raise SystemExit(143)

            signal.signal(signal.SIGTERM, end)
            with pytest.raises(SystemExit):
                training.run(Bytecodes(signal.SIGTERM, at), ())
            assert signal.getsignal(signal.SIGTERM) is end
            # In the midst of the second epoch, which counts as one where anything of it is known.
            epochs = EPOCHS if how == "close" else len(read_run(training.folder).epochs)
            assert epochs >= 1
            problems = [name for name in faults(training, epochs) if name != "saturation"]
            if problems and not (epochs == 2 and problems == ["journal"]):
                wrong[at] = problems
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not wrong
