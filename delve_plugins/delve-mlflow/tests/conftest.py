"""MLflow as a user finds it who has set nothing, with a store of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from delve_mlflow.limits import LIMITS
from mlflow_server import MLflowServer, copy_store, make_store

VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_ID",
)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Creating MLflow's tables takes seconds, copying the file does not."""
    return make_store(tmp_path_factory.mktemp("store") / "mlflow.db")


@pytest.fixture
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is set, and the test runs in a folder of its own."""
    for name in (*VARIABLES, *LIMITS):
        monkeypatch.setenv(name, "")  # so that what MLflow sets in the test is undone after it
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(None)
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    yield
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, no_settings: None) -> str:
    """An empty database where MLflow looks for it by default."""
    return copy_store(empty_store, tmp_path)


@pytest.fixture
def file_store(tmp_path: Path, no_settings: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store that is a folder."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    """A server on a database."""
    with MLflowServer(tmp_path_factory.mktemp("server")) as server:
        yield server
