"""Exceptions that are a good end of a training."""

import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError
from delve.tracker.endings import check_ends_well, what_went_wrong


class PrunedError(Exception):
    pass


class PrunedEarlyError(PrunedError):
    pass


def end(folder, error, **arguments):
    """End a training by an error after a value was logged; what its writer was told."""
    writer, layer = Recorder(), nn.Linear(3, 2)

    def train():
        with SaturationTracker(folder, writer, layer, **arguments) as tracker:
            layer(torch.randn(9, 3))
            tracker.add_saturations()
            tracker.add_scalar("accuracy", 0.5)
            raise error

    with pytest.raises(type(error)):
        train()
    return writer


@pytest.mark.parametrize(
    ("error", "ends_well"),
    [
        (PrunedError(), [PrunedError]),
        (PrunedEarlyError(), [PrunedError]),
        (PrunedEarlyError(), (KeyError, PrunedError)),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (KeyboardInterrupt(), {KeyboardInterrupt}),
        (SystemExit(0), []),
        (SystemExit(), []),
        (SystemExit(3), [SystemExit]),
    ],
    ids=repr,
)
def test_a_good_end_keeps_what_was_logged(tmp_path, error, ends_well):
    writer = end(tmp_path, error, ends_well=ends_well)
    assert writer.rows[1] == {"accuracy": 0.5}
    assert writer.hooks[-2:] == ["save", "close"]
    assert writer.calls[-1][1]["error"] is None


@pytest.mark.parametrize(
    ("error", "ends_well"),
    [
        (KeyboardInterrupt(), []),
        (PrunedError(), [PrunedEarlyError]),
        (PrunedError(), ()),
        (SystemExit(1), [PrunedError]),
        (RuntimeError("out of memory"), [KeyboardInterrupt, PrunedError]),
    ],
    ids=repr,
)
def test_any_other_end_is_a_failure(tmp_path, error, ends_well, caplog):
    writer = end(tmp_path, error, ends_well=ends_well)
    assert writer.hooks[-1] == "close"
    assert writer.calls[-1][1]["error"] is error
    assert writer.hooks.count("save") == 1
    assert "not recorded; dropped: accuracy" in caplog.text


def test_close_takes_the_error_too(tmp_path):
    writer = Recorder()
    tracker = SaturationTracker(tmp_path, writer, nn.Linear(3, 2), ends_well=[PrunedError])
    tracker.add_scalar("accuracy", 0.5)
    tracker.close(PrunedEarlyError())
    assert (writer.rows, writer.calls[-1][1]["error"]) == ({0: {"accuracy": 0.5}}, None)


def test_the_pruning_of_a_trial_is_known_by_its_name():
    class TrialPruned(Exception):  # noqa: N818 - Optuna's name
        __module__ = "optuna.exceptions"
        __qualname__ = "TrialPruned"

    class Mine(TrialPruned):
        pass

    class NamesakeError(Exception):
        __qualname__ = "TrialPruned"

    assert what_went_wrong(TrialPruned(), ()) is None
    assert what_went_wrong(Mine(), ()) is None
    error = NamesakeError()
    assert what_went_wrong(error, ()) is error
    assert what_went_wrong(None, ()) is None


@pytest.mark.parametrize(
    "ends_well", [PrunedError(), [PrunedError()], "KeyboardInterrupt", [int], 3, [None]]
)
def test_what_is_no_class_of_exceptions_is_refused(tmp_path, ends_well):
    with pytest.raises(ArgumentError, match="ends_well must be classes of exceptions"):
        check_ends_well(ends_well)
    folder = tmp_path / "run"
    with pytest.raises(ArgumentError, match="ends_well"):
        SaturationTracker(folder, Recorder(), nn.Linear(3, 2), ends_well=ends_well)
    assert not folder.exists()
