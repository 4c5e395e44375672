"""One item that a backend refuses costs that item there, and nothing else."""

import numpy as np
import pytest
import torch
from torch import nn

from delve import SaturationTracker
from delve.delivery.export import export
from delve.errors import RejectedError, WriterFailedError
from delve.journal.stored_run import read_run

COVARIANCE = "train-covariance-matrix/a*"


class Table:
    """A backend that takes no name with a star in it, and says so in one of its hooks."""

    def __init__(self, hook, rest_arrived=False):
        self.hook, self.rest_arrived = hook, rest_arrived
        self.row, self.rows, self.arrays, self.saves = {}, {}, {}, []

    def start(self):
        self.row = {}

    def resume_from_saved_state(self, initial_epoch, run):
        self.rows = {epoch: row for epoch, row in self.rows.items() if epoch < initial_epoch}
        return run.first_lacking(self.rows)

    def look_at(self, hook, names):
        refused = [name for name in names if "*" in name]
        if hook == self.hook and refused:
            raise RejectedError(refused, "no stars", self.rest_arrived)

    def add_scalar(self, name, value, epoch):
        self.look_at("add_scalar", [name])
        self.row[name] = value

    def add_scalars(self, value_dict, global_step):
        self.look_at("add_scalars", value_dict)
        self.row.update(value_dict)

    def add_array(self, name, value, epoch):
        self.look_at("add_array", [name])
        self.arrays[name] = value.shape

    def save(self, epoch):
        row, self.row = self.row, {}
        arrays, self.arrays = self.arrays, {}
        self.saves.append(epoch)
        if not self.rest_arrived:
            self.look_at("save", [*row, *arrays])
        self.rows[epoch] = arrays | {
            name: value for name, value in row.items() if "*" not in name or self.hook != "save"
        }
        self.look_at("save", [*row, *arrays])


def track(folder, writer, **options):
    layers = {"fc": nn.Linear(3, 2), "a*": nn.Linear(2, 2)}
    tracker = SaturationTracker(folder, writer, layers, stats=["lsat", "cov"], **options)
    return tracker, layers


def train(tracker, layers, epochs=3):
    for _ in range(epochs):
        for layer in layers.values():
            layer(torch.randn(8, layer.in_features))
        tracker.add_scalar("loss", 0.5)
        tracker.add_scalar("b*", 0.25)
        tracker.add_saturations()


@pytest.mark.parametrize("rest_arrived", [False, True])
@pytest.mark.parametrize("hook", ["add_scalar", "add_scalars", "add_array", "save"])
def test_a_refused_item_is_left_out_alone_and_named_once(hook, rest_arrived, tmp_path, caplog):
    if rest_arrived and hook == "add_scalars":
        pytest.skip("nothing has arrived before save")
    writer = Table(hook, rest_arrived)
    tracker, layers = track(tmp_path / "run", writer)
    train(tracker, layers)
    tracker.close()
    assert sorted(writer.rows) == [0, 1, 2]
    for row in writer.rows.values():
        assert row["loss"] == 0.5
        assert 0 < row["train-saturation/fc"] <= 1
        assert row["train-covariance-matrix/fc"] == (2, 2)
        assert {"add_scalar": "b*", "add_array": COVARIANCE, "save": "b*"}.get(hook) not in row
    assert "b*" in caplog.text if hook in ("add_scalar", "save") else "b*" not in caplog.text
    assert "failed" not in caplog.text
    assert all("b*" in record.scalars for record in read_run(tmp_path / "run").records)
    # It is fed again once, where that is needed, and only for the first epoch.
    assert len(writer.saves) == (4 if hook == "save" and not rest_arrived else 3)


def test_arrays_come_again_with_the_epoch(tmp_path):
    writer = Table("save")
    tracker, layers = track(tmp_path / "run", writer)
    train(tracker, layers, epochs=1)
    tracker.close()
    assert writer.rows[0]["train-covariance-matrix/fc"] == (2, 2)


def test_a_refusal_of_what_was_not_given_is_a_fault(tmp_path, caplog):
    class Confused(Table):
        def save(self, epoch):
            raise RejectedError("another", "no idea")

    writer = Confused("never")
    tracker, layers = track(tmp_path / "run", writer)
    train(tracker, layers, epochs=1)
    tracker.close()
    assert "failed at epoch 0: RejectedError: another: no idea" in caplog.text
    assert "did not get epochs 0" in caplog.text


def test_where_failures_are_raised_a_refusal_is_raised_too_once_the_rest_is_there(tmp_path):
    writer = Table("save", rest_arrived=True)
    tracker, layers = track(tmp_path / "run", writer, on_writer_error="raise")
    with pytest.raises(WriterFailedError, match="no stars"):
        train(tracker, layers)
    assert set(writer.rows) == {0}
    tracker.close()


@pytest.mark.parametrize("hook", ["add_scalar", "save"])
def test_an_export_leaves_out_what_is_refused_and_delivers_the_rest(hook, tmp_path, caplog):
    tracker, layers = track(tmp_path / "run", Table("never"))
    train(tracker, layers)
    tracker.close()
    writer = Table(hook)
    (outcome,) = export(tmp_path / "run", writer)
    assert outcome.error is None
    assert outcome.epochs == [0, 1, 2]
    assert [row["loss"] for row in writer.rows.values()] == [0.5] * 3
    assert caplog.text.count("no stars") == 1


def test_a_writer_is_fed_without_what_it_refused_after_an_outage(tmp_path):
    class Away(Table):
        outage = True

        def save(self, epoch):
            if epoch == 1 and self.outage:
                self.row = {}
                raise ConnectionError("away")
            super().save(epoch)

    writer = Away("save")
    tracker, layers = track(tmp_path / "run", writer)
    train(tracker, layers)
    writer.outage = False
    tracker.close()
    assert sorted(writer.rows) == [0, 1, 2]
    assert np.isclose([row["loss"] for row in writer.rows.values()], 0.5).all()
