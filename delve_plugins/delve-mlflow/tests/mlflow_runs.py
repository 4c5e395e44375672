"""The MLflow writer, fed as Delve feeds it, with what a test chooses; and MLflow, read back."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delve.errors import RejectedError
from delve.records import Metric, RunInfo

BEGUN = 1_700_000_000_000
LAYER = Metric("train", "saturation", "fc")


@dataclass
class Recording:
    """A run of Delve's, of which only what the writer is told of it is there.

    Attributes:
        folder: Its folder.
        run_id: Its identity.
        state: What the writer remembers.
        rows: The values of each epoch that the journal holds.
        refused: The names that MLflow refused, with the reasons.
    """

    folder: Path
    run_id: str = "0" * 31 + "1"
    state: dict[str, Any] = field(default_factory=dict)
    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def record(
        self,
        rows: Mapping[int, Mapping[str, float]],
        initial_epoch: int = 0,
        error: BaseException | None = None,
        close: bool = True,
        arguments: Mapping[str, Any] | None = None,
        **told: Any,
    ) -> None:
        """Begin the run or resume it, feed what is lacking and then these rows, and close."""
        from delve_mlflow import MLflowWriter

        before = {epoch: row for epoch, row in self.rows.items() if epoch < initial_epoch}
        self.rows = {**before, **{epoch: dict(row) for epoch, row in rows.items()}}
        run = RunInfo(
            self.folder,
            self.run_id,
            BEGUN,
            initial_epoch=initial_epoch,
            epochs=tuple(before),
            metrics=tuple({name: None for row in before.values() for name in row}),
            state=self.state,
            **told,
        )
        writer = MLflowWriter(self.folder, **(arguments or {}))
        first = 0
        if initial_epoch:
            first = writer.resume_from_saved_state(initial_epoch, run)
        else:
            writer.start(run)
        for epoch, row in self.rows.items():
            if epoch >= min(first, initial_epoch):
                self._feed(writer, epoch, row, run)
        if close:
            writer.close(error, run)

    def _feed(self, writer: Any, epoch: int, row: Mapping[str, float], run: RunInfo) -> None:
        metrics: dict[Metric, float] = {}
        for name, value in row.items():
            if name in self.refused:
                continue
            if metric := Metric.parse(name):
                metrics[metric] = value
            else:
                writer.add_scalar(name, value)
        writer.add_scalars(metrics)
        try:
            writer.save(epoch, BEGUN + epoch, run)
        except RejectedError as error:
            if not error.rest_arrived:
                raise
            self.refused |= dict.fromkeys(error.items, error.reason)


def in_a_process(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own that runs a program, which finds what this one finds."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(*epochs: int, **scalars: float) -> dict[int, dict[str, float]]:
    """A layer metric and a scalar at each epoch, and more scalars that stay the same."""
    return {epoch: {LAYER: epoch / 10, "accuracy": float(epoch), **scalars} for epoch in epochs}


def everything(*run_ids: str) -> list[Any]:
    """All that MLflow tells of these runs: to see that nothing has changed."""
    from mlflow import MlflowClient

    client = MlflowClient()
    found = [client.get_run(run_id) for run_id in run_ids]
    return [
        (
            run.to_dictionary(),
            {
                key: [
                    (point.step, point.value, point.timestamp)
                    for point in client.get_metric_history(run.info.run_id, key)
                ]
                for key in run.data.metrics
            },
        )
        for run in found
    ]


def in_force(delve_run_id: str) -> list[Any]:
    """The runs that Delve made for a run and that count."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`delve.run_id` = '{delve_run_id}'")
    return [
        run for run in found if not {"delve.superseded_by", "delve.state"} & run.data.tags.keys()
    ]


@contextlib.contextmanager
def unchanged(*run_ids: str) -> Any:
    """Nothing in these runs changes inside."""
    before = everything(*run_ids)
    yield
    assert everything(*run_ids) == before
