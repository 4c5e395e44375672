"""A run in MLflow: found again, created, read, and copied without its tail.

MLflow cannot delete a point of a metric. So a run that holds points which a resume makes void is
copied up to there, and the copy takes its place.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from tqdm.auto import tqdm

from delve_mlflow.keys import clean_key

RUN_ID = "delve.run_id"
SAVEFILE = "delve.savefile"
RESUMED_FROM = "delve.resumed_from"
SUPERSEDED_BY = "delve.superseded_by"
STATE = "delve.state"
COPYING = "copying"

MAX_PARAM_LENGTH = 6000


def users_run() -> str | None:
    """The id of the run that the user has started or named, if there is one."""
    active = mlflow.active_run()
    return active.info.run_id if active else os.environ.get("MLFLOW_RUN_ID")


def experiment_in_force(client: MlflowClient) -> str:
    """The id of the user's experiment, else of MLflow's default."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if name:
        experiment = client.get_experiment_by_name(name)
        return experiment.experiment_id if experiment else client.create_experiment(name)
    # mlflow.set_experiment sets the variable too.
    return os.environ.get("MLFLOW_EXPERIMENT_ID") or "0"


def create(
    client: MlflowClient, experiment_id: str, name: str | None, tags: Mapping[str, str]
) -> str:
    """Create a run; returns its id."""
    run: Run = client.create_run(experiment_id, tags=resolve_tags(dict(tags)), run_name=name)
    return str(run.info.run_id)


def find(client: MlflowClient, experiment_id: str, delve_run_id: str) -> list[Run]:
    """The runs that record the same run of Delve and are in force, newest first.

    Copies that a crash left unfinished are deleted on the way.
    """
    found = client.search_runs([experiment_id], f"tags.`{RUN_ID}` = '{delve_run_id}'")
    for run in found:
        if run.data.tags.get(STATE) == COPYING:
            client.delete_run(run.info.run_id)
    return [run for run in found if not {STATE, SUPERSEDED_BY} & run.data.tags.keys()]


def active(client: MlflowClient, run_id: str) -> Run | None:
    """The run of this id; None if it was deleted, be it for good."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def has_ended(run: Run) -> bool:
    """Whether its status says so: not that of a run whose process was killed."""
    return bool(RunStatus.is_terminated(RunStatus.from_string(run.info.status)))


def last_steps(run: Run) -> dict[str, int]:
    """The last step of each metric."""
    return {metric.key: metric.step for metric in run.to_proto().data.metrics}


def log_params(client: MlflowClient, run_id: str, config: Mapping[str, Any]) -> list[str]:
    """Log hyperparameters; returns the keys whose value in MLflow is another and stays."""
    params = params_of(config)
    held = client.get_run(run_id).data.params if params else {}
    new = [Param(key, value) for key, value in params.items() if key not in held]
    if new:
        client.log_batch(run_id, params=new, synchronous=True)
    return [key for key, value in params.items() if held.get(key, value) != value]


def params_of(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Hyperparameters as MLflow holds them: nested keys joined by dots, values as text."""
    params: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            params |= params_of(value, f"{prefix}{key}.")
        else:
            params[clean_key(f"{prefix}{key}")] = str(value)[:MAX_PARAM_LENGTH]
    return params


def copy_below(client: MlflowClient, run: Run, epoch: int, cut: Collection[str]) -> str:
    """Copy a run without the points of the metrics in ``cut`` at ``epoch`` or later.

    The copy is marked until it is complete; :func:`put_in_force` takes the mark off. Returns its
    id.
    """
    tags = {**run.data.tags, RESUMED_FROM: run.info.run_id, STATE: COPYING}
    copy: Run = client.create_run(run.info.experiment_id, tags=tags, run_name=run.info.run_name)
    copy_id = str(copy.info.run_id)
    params = [Param(key, value) for key, value in run.data.params.items()]
    client.log_batch(copy_id, params=params, synchronous=True)
    keys = tqdm(
        run.data.metrics,
        "copying the MLflow run",
        unit="metric",
        delay=1,
        leave=False,
        disable=None,
    )
    points: list[Metric] = []
    for key in keys:
        for point in client.get_metric_history(run.info.run_id, key):
            if key not in cut or point.step < epoch:
                points.append(Metric(key, point.value, point.timestamp, point.step))
        if len(points) >= 1000:  # what one request takes
            client.log_batch(copy_id, metrics=points, synchronous=True)
            points = []
    client.log_batch(copy_id, metrics=points, synchronous=True)
    return copy_id


def put_in_force(client: MlflowClient, copy: Run, our_keys: Collection[str]) -> None:
    """Make a complete copy the run, and retire the one that it was copied from; repeatable.

    One that is marked as retired already is left alone: its user may have restored it.
    """
    if STATE in copy.data.tags:
        client.delete_tag(copy.info.run_id, STATE)
    origin = active(client, copy.data.tags[RESUMED_FROM])
    if origin is None or SUPERSEDED_BY in origin.data.tags:
        return
    if not has_ended(origin):
        client.set_terminated(origin.info.run_id, "FAILED")
    tag = RunTag(SUPERSEDED_BY, copy.info.run_id)
    client.log_batch(origin.info.run_id, tags=[tag], synchronous=True)
    foreign = origin.data.metrics.keys() - set(our_keys)
    if not foreign and not client.list_artifacts(origin.info.run_id):
        client.delete_run(origin.info.run_id)


def log_epoch(
    client: MlflowClient, run_id: str, row: Mapping[str, float], epoch: int, timestamp: int
) -> None:
    """Log one epoch as one batch; identical points are ignored, so this is repeatable."""
    metrics = [Metric(clean_key(name), value, timestamp, epoch) for name, value in row.items()]
    client.log_batch(run_id, metrics=metrics, synchronous=True)


def last_epoch(steps: Mapping[str, int], our_keys: Iterable[str]) -> int:
    """The last step that any of our metrics has, -1 for none."""
    return max((steps[key] for key in our_keys if key in steps), default=-1)
