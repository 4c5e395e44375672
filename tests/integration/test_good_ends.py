"""How a training ended, as MLflow and Optuna tell it."""

import logging
from typing import Any

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from mlflow_server import copy_store, make_store
from torch import nn

from delve import SaturationTracker


class StoppedError(Exception):
    """As the graceful exits of frameworks are."""


class StoppedBySignalError(StoppedError):
    pass


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "mlflow.db")


@pytest.fixture(autouse=True)
def _store(tmp_path, empty_store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", copy_store(empty_store, tmp_path))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)
    yield
    mlflow.set_tracking_uri(None)


def train(folder, error, **arguments):
    layer = nn.Linear(3, 2)
    with SaturationTracker(folder, "mlflow", layer, **arguments) as tracker:
        layer(torch.randn(9, 3))
        tracker.add_saturations()
        tracker.add_scalar("accuracy", 0.75)
        raise error


def the_run(folder):
    client = MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`delve.savefile` = '{folder}'")
    (run,) = found
    return run, client


@pytest.mark.parametrize(
    ("error", "ends_well", "status"),
    [
        (StoppedBySignalError(), [StoppedError], "FINISHED"),
        (KeyboardInterrupt(), [KeyboardInterrupt], "FINISHED"),
        (SystemExit(0), [], "FINISHED"),
        (KeyboardInterrupt(), [StoppedError], "FAILED"),
        (StoppedError(), [StoppedBySignalError], "FAILED"),
        (SystemExit(1), [StoppedError], "FAILED"),
    ],
    ids=repr,
)
def test_mlflow_holds_the_status_and_the_last_value(tmp_path, error, ends_well, status):
    folder = tmp_path / "run"
    with pytest.raises(type(error)):
        train(folder, error, ends_well=ends_well)
    run, client = the_run(folder)
    assert run.info.status == status
    if status == "FINISHED":
        points = client.get_metric_history(run.info.run_id, "accuracy")
        assert [(point.step, point.value) for point in points] == [(1, 0.75)]


def test_a_trial_that_optuna_prunes_is_finished(tmp_path, caplog):
    optuna: Any = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    class PrunedByUs(optuna.TrialPruned):
        pass

    errors = [optuna.TrialPruned(), PrunedByUs(), optuna.exceptions.OptunaError()]

    def objective(trial):
        train(tmp_path / str(trial.number), errors[trial.number])

    study = optuna.create_study()
    with caplog.at_level(logging.WARNING, "delve"):
        study.optimize(objective, n_trials=3, catch=(optuna.exceptions.OptunaError,))
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "PRUNED", "FAIL"]
    statuses = [the_run(tmp_path / str(number))[0].info.status for number in range(3)]
    assert statuses == ["FINISHED", "FINISHED", "FAILED"]
    dropped = [r for r in caplog.records if "dropped" in r.getMessage() and "delve" in r.name]
    assert len(dropped) == 1
