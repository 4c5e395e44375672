"""The tracker in the hands of a trainer's callback."""

import json

import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve.errors import ArgumentError, WriterFailedError, WriterNotFoundError
from delve.tracker import SaturationTracker, TrainersTracker

STEPS = 12


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))


def batch(step, kind):
    generator = torch.Generator().manual_seed(100 * step + kind)
    return torch.randn(8, 6, generator=generator)


class Trainer:
    """A trainer with steps, epochs of 5, evaluations at each third step, and checkpoints."""

    def __init__(self, held, folder, writer=None, evaluates=True):
        self.held, self.folder, self.evaluates = held, folder, evaluates
        self.writer = writer or Recorder()
        self.model = network()
        self.states = {}

    def fit(self, until=STEPS, step=0, state=None, **options):
        self.held.open(
            self.folder,
            self.writer,
            self.model,
            evaluates=self.evaluates,
            step=step,
            state=state,
            **options,
        )
        while step < until:
            self.held.before_step(step + 1)
            step += 1
            self.model.train()
            self.model(batch(step, 0))
            self.held.after_step(step)
            self.held.carry({"loss": 1 / step, "note": "none", "epoch": step // 5}, step)
            if self.evaluates and step % 3 == 0:
                self.evaluate(step)
            if step % 5 == 0:
                self.held.after_epoch(step)
            self.states[step] = self.held.state()
        return self

    def evaluate(self, step):
        for kind in (1, 2):  # two data sets
            self.model.eval()
            self.model(batch(step, kind))
            self.held.after_evaluation(step)


def lines(folder):
    found = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return {line["step"]: line for line in found if line["type"] == "epoch"}


def values(folder):
    return {step: {**line["scalars"], **line["metrics"]} for step, line in lines(folder).items()}


def test_rows_come_at_evaluations_with_all_of_their_passes(tmp_path):
    held = TrainersTracker(arguments={"stats": ["n"]})
    trainer = Trainer(held, tmp_path).fit()
    held.close()
    rows = {step: row for step, row in values(tmp_path).items() if len(row) > 1}
    assert list(rows) == [3, 6, 9, 12]
    assert all(
        row["eval-samples/0"] == 16 and row["train-samples/0"] == 24 for row in rows.values()
    )
    assert rows[9]["loss"] == 1 / 9
    assert trainer.writer.hooks[-1] == "close"


def test_writers_can_look_into_the_names_that_came(tmp_path):
    held = TrainersTracker(5)
    names = held.carried
    Trainer(held, tmp_path).fit(until=3)
    assert names == {"loss"}
    assert names is held.carried
    held.close()


def test_without_rows_of_scalars_the_next_row_has_the_last(tmp_path):
    held = TrainersTracker(5, has_rows_of_scalars=False)
    Trainer(held, tmp_path, evaluates=False).fit(until=7)
    held.close()
    assert {step: row["loss"] for step, row in values(tmp_path).items()} == {5: 1 / 5}


def test_a_row_for_one_who_knows_when(tmp_path):
    model = network()
    held = TrainersTracker(arguments={"every": 2, "stats": ["n"]})
    held.open(tmp_path, Recorder(), model)
    for step in range(1, 6):
        model(batch(step, 0))
        held.row(10 * step)
    held.close()
    assert {step: row["train-samples/0"] for step, row in values(tmp_path).items()} == {
        20: 16,
        40: 16,
    }


def test_scalars_between_rows_have_rows_of_their_own(tmp_path):
    held = TrainersTracker(5, arguments={"stats": ["n"]})
    Trainer(held, tmp_path).fit()
    held.close()
    rows = values(tmp_path)
    assert list(rows) == list(range(1, STEPS + 1))
    assert {step: row["loss"] for step, row in rows.items()} == {n: 1 / n for n in rows}
    assert [step for step, row in rows.items() if "train-samples/0" in row] == [5, 10]
    assert rows[10]["train-samples/0"] == 40


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path):
    whole = TrainersTracker(4)
    Trainer(whole, tmp_path / "whole").fit()
    whole.close()
    first = TrainersTracker(4)
    killed = Trainer(first, tmp_path / "killed").fit(until=10)
    first.tracker.close(RuntimeError("killed"))
    second = TrainersTracker(4)
    Trainer(second, tmp_path / "killed").fit(step=7, state=killed.states[7])
    second.close()
    assert values(tmp_path / "killed") == values(tmp_path / "whole")


def test_an_evaluation_after_the_checkpoint_was_loaded_counts_not_again(tmp_path):
    first = TrainersTracker(arguments={"stats": ["n"]})
    killed = Trainer(first, tmp_path).fit(until=6)
    first.close()
    second = TrainersTracker(arguments={"stats": ["n"]})
    trainer = Trainer(second, tmp_path)
    second.open(tmp_path, Recorder(), trainer.model, evaluates=True, step=6, state=killed.states[6])
    trainer.evaluate(6)
    second.before_step(7)
    trainer.model(batch(7, 1))
    second.after_evaluation(7)
    second.close()
    assert values(tmp_path)[7]["eval-samples/0"] == 8


def test_without_a_state_the_rows_up_to_the_step_stay(tmp_path, caplog):
    held = TrainersTracker(3)
    Trainer(held, tmp_path).fit()
    held.close()
    again = TrainersTracker(3)
    again.open(tmp_path, Recorder(), network(), step=7)
    assert again.tracker.epoch == 7  # rows of scalars among them
    again.close()
    assert "holds no state of Delve" in caplog.text


def test_a_training_that_delve_joins_late_begins_a_run(tmp_path):
    held = TrainersTracker(4)
    Trainer(held, tmp_path).fit(step=6)
    held.close()
    assert [step for step, row in values(tmp_path).items() if len(row) > 1] == [8, 12]


def test_the_epoch_as_axis(tmp_path):
    model = network()
    for epochs, behind in ((range(1, 3), 0), (range(3, 5), 2)):
        held = TrainersTracker("epoch", axis="epoch", arguments={"stats": ["n"]})
        held.open(tmp_path, Recorder(), model, step=behind)
        for epoch in epochs:
            held.before_step(epoch)
            model(batch(epoch, 0))
            held.carry({"loss": 0.5}, epoch)
            held.after_epoch(epoch)
        held.close()
    found = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    rows = [line for line in found if line["type"] == "epoch"]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert all("step" not in row and row["scalars"] == {"loss": 0.5} for row in rows)


def test_last_gathers_the_step_of_the_row(tmp_path):
    held = TrainersTracker(4, "last", {"stats": ["n"]})
    Trainer(held, tmp_path).fit()
    held.close()
    rows = values(tmp_path)
    assert [rows[step]["train-samples/0"] for step in (4, 8, 12)] == [8, 8, 8]
    assert "eval-samples/0" not in rows[8]
    assert rows[12]["eval-samples/0"] == 16


def test_a_mode_that_is_said(tmp_path):
    model = network()
    held = TrainersTracker(1, arguments={"stats": ["n"]})
    held.mode("eval")
    held.open(tmp_path, Recorder(), model)
    for mode, step in (("eval", 1), ("off", 2), (None, 3)):
        held.mode(mode)
        model(batch(step, 0))
        held.after_step(step)
        held.flush()
    held.close()
    rows = {step: list(row) for step, row in values(tmp_path).items() if row}
    assert rows == {
        1: ["eval-samples/0", "eval-samples/2"],
        3: ["train-samples/0", "train-samples/2"],
    }


class PrunedError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "expected"), [(PrunedError(), [4, 8, 10]), (ValueError(), [4, 8]), (None, [4, 8])]
)
def test_a_good_end_has_its_last_row(tmp_path, error, expected):
    held = TrainersTracker(4, arguments={"ends_well": PrunedError})
    trainer = Trainer(held, tmp_path, evaluates=False).fit(until=10)
    held.close(error, 10)
    rows = values(tmp_path)
    assert [step for step, row in rows.items() if len(row) > 1] == expected
    hook, given = trainer.writer.calls[-1]
    assert hook == "close"
    assert (given["error"] is None) == (not isinstance(error, ValueError))


def test_calls_without_a_run_do_nothing():
    held = TrainersTracker()
    held.before_step(1)
    held.after_step(1)
    held.carry({"a": 1.0}, 1)
    held.mode("eval")
    assert held.state() is None
    assert held.folder is None
    held.close()


def test_a_second_training_closes_what_an_exception_left(tmp_path):
    held = TrainersTracker(2)
    first = Trainer(held, tmp_path).fit(until=3)
    Trainer(held, tmp_path).fit(until=2)
    held.close()
    assert first.writer.hooks[-1] == "close"
    assert [step for step, row in values(tmp_path).items() if len(row) > 1] == [2]
    assert (tmp_path / "earlier/1/journal.jsonl").exists()


@pytest.mark.parametrize(
    ("save_to", "arguments", "error"),
    [
        ("csvv", {}, WriterNotFoundError),
        (Recorder(), {"stats": ["lsatt"]}, ArgumentError),
        (Recorder(), {"sat_threshold": 3}, ArgumentError),
        (Recorder(), {"config": 3}, ArgumentError),
    ],
)
def test_a_mistake_in_the_arguments_is_raised(tmp_path, save_to, arguments, error):
    held = TrainersTracker(arguments=arguments)
    with pytest.raises(error):
        held.open(tmp_path, save_to, network())
    assert not (tmp_path / "journal.jsonl").exists()


@pytest.mark.parametrize("method", ["add_saturations", "state_dict", "load_state_dict", "close"])
def test_no_failure_stops_the_training(tmp_path, method, monkeypatch, caplog):
    first = TrainersTracker(4)
    state = Trainer(first, tmp_path).fit(until=5).states[5]
    first.close()

    def fail(*_, **__):
        raise OSError("no such luck")

    monkeypatch.setattr(SaturationTracker, method, fail)
    held = TrainersTracker(4)
    Trainer(held, tmp_path).fit(step=5, state=state)
    tracker = held.tracker
    held.close()
    assert caplog.text.count("the training goes on without it: OSError: no such luck") == 1
    monkeypatch.undo()
    tracker.close()


def test_a_run_that_cannot_be_opened_stops_no_training(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("disk on fire")

    monkeypatch.setattr(SaturationTracker, "__init__", fail)
    Trainer(TrainersTracker(4), tmp_path).fit()
    assert "the opening of the run failed" in caplog.text


class Failing(Recorder):
    def save(self, epoch, timestamp):
        raise OSError("no such luck")


def test_a_failure_is_raised_where_the_user_asks_for_it(tmp_path):
    held = TrainersTracker(4, arguments={"on_writer_error": "raise"})
    with pytest.raises(WriterFailedError):
        Trainer(held, tmp_path, Failing()).fit()
    with pytest.raises(WriterFailedError):
        held.close()
