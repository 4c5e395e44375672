"""A checkpoint's state, where its own step has got a row since."""

import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve.testing import journal_rows
from delve.tracker import TrainersTracker, behind_its_row


def begun(folder, with_layers):
    """A run of two steps; the second has its row after the checkpoint. Returns the state."""
    torch.manual_seed(0)
    held, model = TrainersTracker(arguments={"stats": ["n"]}), nn.Linear(4, 2)
    held.open(folder, Recorder(), model, evaluates=True)
    for step in (1, 2):
        held.before_step(step)
        model(torch.randn(3, 4))
        held.after_step(step)
        if step == 1:
            held.after_evaluation(1)
    state = held.state()
    held.carry({"loss": 0.5}, 2)
    if with_layers:
        held.after_evaluation(2)
    held.before_step(3)
    held.tracker.close(RuntimeError("killed"))
    return state


def gone_on(folder, state):
    """The same run with a third step, which has a row."""
    held, model = TrainersTracker(arguments={"stats": ["n"]}), nn.Linear(4, 2)
    held.open(folder, Recorder(), model, evaluates=True, step=2, state=state)
    held.before_step(3)
    model(torch.randn(3, 4))
    held.after_step(3)
    held.after_evaluation(3)
    held.close()
    return journal_rows(folder)


@pytest.mark.parametrize(("with_layers", "count"), [(True, 3), (False, 6)])
def test_the_row_stays_and_its_samples_are_used_up(tmp_path, with_layers, count):
    state = behind_its_row(begun(tmp_path, with_layers), tmp_path, 2)
    rows = gone_on(tmp_path, state)
    assert list(rows) == [0, 1, 2]
    assert rows[1].get("loss") == 0.5
    assert ("train-samples/Linear-0" in rows[1]) == with_layers
    assert rows[2] == {"train-samples/Linear-0": count}


def test_a_row_of_a_later_step_is_void(tmp_path):
    state = begun(tmp_path, with_layers=True)
    assert behind_its_row(state, tmp_path, 1) is state
    rows = gone_on(tmp_path, state)
    assert rows[1] == {"train-samples/Linear-0": 6}


def test_a_folder_without_a_journal_tells_nothing(tmp_path):
    state = begun(tmp_path / "a", with_layers=True)
    assert behind_its_row(state, tmp_path / "b", 2) is state
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "journal.jsonl").write_text('{"type": "epoch"}\n')
    assert behind_its_row(state, tmp_path / "b", 2) is state
