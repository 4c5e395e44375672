"""Servers of backends, which take seconds to start, for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.trainer_backends import Curves, Rows, mlflow_curves, steps_on_a_server


class Servers(NamedTuple):
    """An MLflow server and a W&B server, and what they hold.

    Attributes:
        database: Of the MLflow server.
        wandb: The W&B server.
        environment: The variables that lead clients there.
    """

    database: Path
    wandb: Any
    environment: dict[str, str]

    def curves(self, name: str, value: str) -> Curves:
        """All points of the one run with this parameter."""
        return mlflow_curves(self.database, name, value)

    def wandb_runs(self, name: str, value: str) -> list[Any]:
        """The W&B runs whose configuration says so, oldest first."""
        return [
            run
            for run in self.wandb.runs.values()
            if run.config.get(name, {}).get("value") == value
        ]

    def wandb_rows(self, name: str, value: str, axis: str) -> Rows:
        """Delve's values in the one W&B run whose configuration says so, each once."""
        (run,) = self.wandb_runs(name, value)
        return steps_on_a_server(run.rows, axis)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both, for all tests of a process; runs are told apart by their parameters."""
    pytest.importorskip("delve_mlflow")
    pytest.importorskip("delve_wandb")
    from mlflow_server import MLflowServer
    from wandb_server import WandbServer

    folder = tmp_path_factory.mktemp("servers")
    with MLflowServer(folder) as server, WandbServer() as wandb:
        there = {**wandb.environment, "WANDB_MODE": "online", "MLFLOW_TRACKING_URI": server.url}
        yield Servers(folder / "mlflow.db", wandb, there)
