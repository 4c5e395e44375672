"""A run in MLflow: found again, created and read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from delve_mlflow.identity import COPYING, RUN_ID, STATE, SUPERSEDED_BY, Identity

# What MLflow answers where a run is not there for this user.
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED"}


def users_run() -> str | None:
    """The id of the run that the user has started or named, if there is one."""
    active = mlflow.active_run()
    return active.info.run_id if active else os.environ.get("MLFLOW_RUN_ID")


def experiment_in_force(client: MlflowClient) -> str:
    """The id of the user's experiment, else of MLflow's default."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if name:
        experiment = client.get_experiment_by_name(name)
        return experiment.experiment_id if experiment else _create_experiment(client, name)
    # mlflow.set_experiment sets the variable too.
    return os.environ.get("MLFLOW_EXPERIMENT_ID") or "0"


def _create_experiment(client: MlflowClient, name: str) -> str:
    try:
        return client.create_experiment(name)
    except MlflowException as error:
        # Another process was faster, or the answer to an earlier attempt got lost.
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return experiment.experiment_id


def create(
    client: MlflowClient, experiment_id: str, name: str | None, tags: Mapping[str, str]
) -> str:
    """Create a run; returns its id."""
    run: Run = client.create_run(experiment_id, tags=resolve_tags(dict(tags)), run_name=name)
    return str(run.info.run_id)


def find(client: MlflowClient, experiment_id: str, identity: Identity) -> list[Run]:
    """The runs that Delve made for this run of its and that are in force, newest first.

    Copies that a crash left unfinished are deleted on the way.
    """
    tagged = client.search_runs([experiment_id], f"tags.`{RUN_ID}` = '{identity.run_id}'")
    ours = [run for run in tagged if identity.owns(run.info.run_id, run.data.tags)]
    if not identity.may_be_copy:
        for run in ours:
            if run.data.tags.get(STATE) == COPYING:
                client.delete_run(run.info.run_id)
    return [run for run in ours if is_in_force(run)]


def is_in_force(run: Run) -> bool:
    """Whether it is neither an unfinished copy nor one that a copy has replaced."""
    return not {STATE, SUPERSEDED_BY} & run.data.tags.keys()


def active(client: MlflowClient, run_id: str) -> Run | None:
    """The run of this id; None if it was deleted, be it for good, or is none of the user's."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def has_ended(run: Run) -> bool:
    """Whether its status says so: not that of a run whose process was killed."""
    return bool(RunStatus.is_terminated(RunStatus.from_string(run.info.status)))


def tag(client: MlflowClient, run: Run, tags: Mapping[str, str]) -> None:
    """Set those tags that a run has not or has otherwise."""
    new = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
    if new:
        client.log_batch(run.info.run_id, tags=new, synchronous=True)


def last_points(run: Run) -> dict[str, Metric]:
    """The last point of each metric."""
    return {
        metric.key: Metric(metric.key, metric.value, metric.timestamp, metric.step)
        for metric in run.to_proto().data.metrics
    }


def last_epoch(run: Run, keys: Iterable[str]) -> int:
    """The last step that any of these metrics has, -1 for none."""
    points = last_points(run)
    return max((points[key].step for key in keys if key in points), default=-1)
