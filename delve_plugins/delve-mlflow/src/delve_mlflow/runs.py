"""A run in MLflow: found again, created and read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from mlflow.entities import Metric, Run, RunStatus
from mlflow.exceptions import MlflowException

from delve_mlflow.client import Client
from delve_mlflow.identity import COPYING, RUN_ID, STATE, SUPERSEDED_BY, Identity

# What MLflow answers where a run is not there for this user.
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED"}


def experiment_in_force(client: Client) -> str:
    """The id of the user's experiment, else of MLflow's default."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if name:
        experiment = client.experiment_by_name(name)
        return experiment.experiment_id if experiment else _create_experiment(client, name)
    # mlflow.set_experiment sets the variable too.
    return os.environ.get("MLFLOW_EXPERIMENT_ID") or "0"


def _create_experiment(client: Client, name: str) -> str:
    try:
        return client.create_experiment(name)
    except MlflowException as error:
        # Another process was faster, or the answer to an earlier attempt got lost.
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        experiment = client.experiment_by_name(name)
        if experiment is None:
            raise
        return experiment.experiment_id


def find(client: Client, experiment_id: str, identity: Identity) -> list[Run]:
    """The runs that Delve made for this run of its, newest first, also those not in force."""
    tagged = client.search_runs(experiment_id, f"tags.`{RUN_ID}` = '{identity.run_id}'")
    return [run for run in tagged if identity.owns(run.info.run_id, run.data.tags)]


def is_unfinished(run: Run) -> bool:
    """Whether it is a copy that was begun and is not complete, as far as is known."""
    return run.data.tags.get(STATE, "").startswith(COPYING)


def is_in_force(run: Run) -> bool:
    """Whether it is neither an unfinished copy nor one that a copy has replaced."""
    return not {STATE, SUPERSEDED_BY} & run.data.tags.keys()


def active(client: Client, run_id: str) -> Run | None:
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


def tag(client: Client, run: Run, tags: Mapping[str, str]) -> None:
    """Set those tags that a run has not or has otherwise."""
    new = {key: value for key, value in tags.items() if run.data.tags.get(key) != value}
    if new:
        client.log_tags(run.info.run_id, new)


def last_points(run: Run) -> dict[str, Metric]:
    """The last point of each metric."""
    return {
        metric.key: Metric(metric.key, metric.value, metric.timestamp, metric.step)
        for metric in run.to_proto().data.metrics
    }


def last_step(run: Run, keys: Iterable[str]) -> int:
    """The last step that any of these metrics has, -1 for none."""
    points = last_points(run)
    return max((points[key].step for key in keys if key in points), default=-1)
