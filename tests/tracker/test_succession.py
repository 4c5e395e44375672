"""One tracker after the other on one folder: which are ended, and which are a mistake."""

import gc
import sys

import pytest
import torch
from torch import nn

from delve import SaturationTracker
from delve.errors import RunFolderInUseError
from delve.journal.stored_run import read_run


def record(folder, model, epochs=1, **arguments):
    """Make a tracker that nobody closes, and let it go."""
    tracker = SaturationTracker(folder, "print", model, **arguments)
    for _ in range(epochs):
        model(torch.rand(20, 3))
        tracker.add_saturations()


def test_one_that_nobody_refers_to_is_ended_and_named(tmp_path, caplog):
    model = nn.Linear(3, 2)
    record(tmp_path, model, 2)
    record(tmp_path, model, initial_epoch="auto")
    told = [r.getMessage() for r in caplog.records if "ends here" in r.getMessage()]
    assert told == [f"{tmp_path}: the tracker that nobody refers to any more ends here, at epoch 2"]
    assert len(model._forward_hooks) == 1, "those of the earlier one are gone"
    assert read_run(tmp_path).epochs == [0, 1, 2]


def test_a_new_run_moves_the_earlier_one_aside(tmp_path):
    model = nn.Linear(3, 2)
    for _ in range(3):
        record(tmp_path, model, 2)
    assert read_run(tmp_path / "earlier" / "2").epochs == [0, 1]
    assert read_run(tmp_path).epochs == [0, 1]


def test_one_that_is_held_by_a_circle_of_the_dead_is_ended(tmp_path):
    class Trainer:
        def __init__(self):
            self.itself = self
            self.tracker = SaturationTracker(tmp_path, "print", nn.Linear(3, 2))

    gc.disable()
    try:
        Trainer()
        SaturationTracker(tmp_path, "print", nn.Linear(3, 2)).close()
    finally:
        gc.enable()


@pytest.mark.parametrize("holder", ["variable", "list", "with"])
def test_two_that_are_both_in_use_are_a_mistake(tmp_path, holder):
    model = nn.Linear(3, 2)
    first = SaturationTracker(tmp_path, "print", model)
    held = [first] if holder == "list" else first
    if holder == "list":
        del first
    if holder == "with":
        with held, pytest.raises(RunFolderInUseError, match="in use by a tracker of this process"):
            SaturationTracker(tmp_path, "print", model)
        return
    with pytest.raises(RunFolderInUseError, match="in use by a tracker of this process"):
        SaturationTracker(tmp_path, "print", model)
    model(torch.rand(20, 3))
    (held[0] if holder == "list" else held).add_saturations()
    assert read_run(tmp_path).epochs == [0]


def test_an_error_before_the_folder_is_taken_ends_nothing(tmp_path):
    model = nn.Linear(3, 2)
    record(tmp_path, model)
    with pytest.raises(ValueError, match="nonsense"):
        SaturationTracker(tmp_path, "nonsense", model)
    assert len(model._forward_hooks) == 1


def test_scalars_of_an_epoch_that_an_error_cut_short_are_dropped(tmp_path, monkeypatch):
    model = nn.Linear(3, 2)

    def fail():
        tracker = SaturationTracker(tmp_path, "print", model)
        tracker.add_scalar("loss", 1.0)

    fail()
    monkeypatch.setattr(sys, "last_value", ValueError("in a cell"), raising=False)
    record(tmp_path, model, initial_epoch="auto")
    assert [dict(record.scalars) for record in read_run(tmp_path).records] == [{}]


def test_its_html_tells_of_layers_modes_and_files(tmp_path):
    model = nn.Sequential(nn.Linear(40, 6))
    with SaturationTracker(tmp_path / "a <run>", "print", model) as tracker:
        assert "epoch 0" in tracker._repr_html_()
        model(torch.rand(200, 40))
        model.eval()(torch.rand(200, 40))
        tracker.add_saturations()
        told = tracker._repr_html_()
    assert "a &lt;run&gt;: after epoch 0" in told
    assert "train saturation" in told
    assert "eval saturation" in told
    assert " of 6)" in told
    assert "journal.jsonl" in told
    assert "<run>" not in told
