"""The runs of a trainer's own loggers: what "loggers" stands for, and which are gone on with."""

import shutil
from importlib.metadata import EntryPoint

import pytest
import torch

from delve import SaturationTracker
from delve.errors import ArgumentError
from delve.tracker import (
    earlier_runs,
    forget_earlier_runs,
    name_earlier_runs,
    resolve_loggers,
)


@pytest.fixture
def installed_writers(monkeypatch):
    """Has the writers of these names be the ones that distributions offer."""

    def install(*names):
        offers = [EntryPoint(name, f"{name}:Writer", "delve.writers") for name in names]
        monkeypatch.setattr("delve.base.entry_points.entry_points", lambda group: offers)

    return install


class Guest:
    """A writer that remembers which run it records into."""

    def __init__(self, **state):
        self._state = state

    def start(self, run):
        run.remember(**self._state)

    def resume_from_saved_state(self, initial_epoch, run):
        return initial_epoch

    def add_scalars(self, value_dict, global_step, prefix):
        pass


def run_in(folder, **states):
    """A recorded run of one epoch with writers of these names."""
    classes = {name: type(name, (Guest,), {}) for name in states}
    writers = [classes[name](**state) for name, state in states.items()]
    model = torch.nn.Linear(4, 2)
    with SaturationTracker(folder, writers, model) as tracker:
        model(torch.randn(8, 4))
        tracker.add_saturations()


def test_loggers_are_those_that_the_trainer_has(installed_writers):
    installed_writers("mlflow", "wandb", "csv")
    found = {"mlflow": {"run_id": "a"}, "wandb": {}}
    assert resolve_loggers("loggers", None, found) == (
        ["mlflow", "wandb"],
        {"mlflow": {"run_id": "a"}},
    )
    given = {"mlflow": {"prefix": "b/", "run_id": "c"}, "run_name": "d"}
    assert resolve_loggers(["csv", "loggers"], given, found) == (
        ["csv", "mlflow", "wandb"],
        {"mlflow": {"prefix": "b/", "run_id": "c"}, "run_name": "d"},
    )


def test_without_loggers_it_is_csv(installed_writers):
    installed_writers("csv")
    assert resolve_loggers("loggers", None, {}) == (["csv"], {})
    writer = Guest()
    assert resolve_loggers([writer, "loggers"], None, {}) == ([writer], {})


def test_a_logger_without_a_writer_is_named_and_left_out(installed_writers, caplog):
    installed_writers("csv")
    assert resolve_loggers("loggers", {}, {"mlflow": {"run_id": "a"}}) == (["csv"], {})
    assert "pip install ./delve_plugins/delve-mlflow" in caplog.text


@pytest.mark.parametrize("save_to", ["csv", ["csv", "print"], ("csv",), Guest()])
def test_what_names_no_loggers_stays_as_it_is(save_to):
    assert resolve_loggers(save_to, {"a": 1}, {"mlflow": {"run_id": "a"}}) == (save_to, {"a": 1})


def test_arguments_that_are_none_are_a_mistake():
    with pytest.raises(ArgumentError, match="writer_args must be a dictionary"):
        resolve_loggers("loggers", ["a"], {})


def test_the_trainers_runs_are_those_that_are_not_delves_own(tmp_path):
    run_in(
        tmp_path / "a",
        mlflow={"run_id": "m1", "owned": False},
        wandb={"run_id": "w1", "owned": True},
        other={"run_id": 7},
        csv={},
    )
    assert earlier_runs(tmp_path / "a") == {"mlflow": "m1"}


def test_a_folder_without_a_run_names_none(tmp_path, caplog):
    assert earlier_runs(tmp_path / "none") == {}
    (tmp_path / "journal.jsonl").write_text('{"type": "epoch"}\n')
    assert earlier_runs(tmp_path) == {}
    assert "are not found again" in caplog.text


def test_the_runs_of_a_copied_folder_are_its_originals(tmp_path):
    run_in(tmp_path / "a", mlflow={"run_id": "m1", "owned": False})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert earlier_runs(tmp_path / "b") == {}
    (tmp_path / "a").rename(tmp_path / "c")
    assert earlier_runs(tmp_path / "c") == {"mlflow": "m1"}


def test_variables_name_the_runs_and_are_taken_away_again(tmp_path):
    run_in(
        tmp_path,
        mlflow={"run_id": "m1", "owned": False},
        wandb={"run_id": "w1", "owned": False},
    )
    environment = {"HOME": "/"}
    named = name_earlier_runs(tmp_path, environment)
    assert named == {"MLFLOW_RUN_ID": "m1", "WANDB_RUN_ID": "w1", "WANDB_RESUME": "allow"}
    assert environment == {"HOME": "/", **named}
    forget_earlier_runs(named, environment)
    assert environment == {"HOME": "/"}


def test_what_the_user_has_set_stays(tmp_path):
    run_in(
        tmp_path,
        mlflow={"run_id": "m1", "owned": False},
        wandb={"run_id": "w1", "owned": False},
    )
    environment = {"MLFLOW_RUN_ID": "mine", "WANDB_RESUME": "must"}
    named = name_earlier_runs(tmp_path, environment)
    assert environment == {"MLFLOW_RUN_ID": "mine", "WANDB_RESUME": "must", "WANDB_RUN_ID": "w1"}
    forget_earlier_runs(named, environment)
    assert environment == {"MLFLOW_RUN_ID": "mine", "WANDB_RESUME": "must"}
