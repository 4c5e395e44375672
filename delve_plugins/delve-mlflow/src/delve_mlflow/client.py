"""MLflow's client, as far as Delve needs it: each call within the time that there is for it."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.rest_utils import http_request, verify_rest_response

from delve_mlflow import database
from delve_mlflow.limits import LONGEST
from delve_mlflow.patience import AT_ONCE, Patience
from delve_mlflow.rows import MOST_AT_ONCE

_LOG_BATCH = "/api/2.0/mlflow/runs/log-batch"


class Client:
    """Asks MLflow, in threads of its own; what is the thread's in MLflow is read in the caller's.

    Args:
        uri: The tracking URI.
        patience: How long that may take.
    """

    def __init__(self, uri: str, patience: Patience) -> None:
        self._patience = patience
        self._database = database.path_of(uri)
        self.is_remote = patience.remote
        self._is_web = uri.startswith("http")
        self._takes_many = True
        self._client = self._opened(uri)

    def _opened(self, uri: str) -> MlflowClient:
        path = self._database
        if path is not None:
            self._patience.ask(lambda: database.made(path, lambda: first_call(uri), LONGEST))
        return MlflowClient(uri)

    def get_run(self, run_id: str) -> Run:
        """A run of any lifecycle stage."""
        return self._checked(self._ask(self._client.get_run, run_id), run_id)

    def search_runs(self, experiment_id: str, condition: str) -> list[Run]:
        """The active runs of an experiment that meet a condition, newest first."""
        return list(self._ask(self._client.search_runs, [experiment_id], condition))

    def create_run(self, experiment_id: str, name: str | None, tags: Mapping[str, str]) -> Run:
        """A new run, with the tags that MLflow itself gives to each too."""
        every_tag = resolve_tags(dict(tags))
        create = self._client.create_run
        return self._checked(self._ask(create, experiment_id, tags=every_tag, run_name=name))

    def experiment_by_name(self, name: str) -> Experiment | None:
        """The experiment of this name."""
        found: Experiment | None = self._ask(self._client.get_experiment_by_name, name)
        return found

    def create_experiment(self, name: str) -> str:
        """A new experiment; returns its id."""
        return str(self._ask(self._client.create_experiment, name))

    def set_status(self, run_id: str, status: str) -> None:
        """Have a run go on."""
        self._ask(self._client.update_run, run_id, status=status)

    def set_terminated(self, run_id: str, status: str) -> None:
        """End a run."""
        self._ask(self._client.set_terminated, run_id, status)

    def delete_run(self, run_id: str) -> None:
        """Delete a run so that it can be restored."""
        self._ask(self._client.delete_run, run_id)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Take a tag off a run."""
        self._ask(self._client.delete_tag, run_id, key)

    def files(self, run_id: str, folder: str) -> list[tuple[str, bool]]:
        """The files of a run in a folder of it, and whether each is a folder itself."""
        found = self._ask(self._client.list_artifacts, run_id, folder or None)
        return [(one.path, one.is_dir) for one in found]

    def log_artifact(self, run_id: str, path: Path, folder: str) -> None:
        """Put a file into a folder of a run."""
        self._ask(self._client.log_artifact, run_id, str(path), folder)

    def log_params(self, run_id: str, params: Sequence[Param]) -> None:
        """Log params to a run."""
        self._ask(self._client.log_batch, run_id, params=params, synchronous=True)

    def log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        new = [RunTag(key, value) for key, value in tags.items()]
        self._ask(self._client.log_batch, run_id, tags=new, synchronous=True)

    def log_points(
        self, run_id: str, points: Sequence[Metric], tags: Mapping[str, str] | None = None
    ) -> None:
        """Log points to a run, and to no model: none can be dropped there when a run goes back.

        The tags are set when all points have arrived.
        """
        new = [RunTag(key, value) for key, value in (tags or {}).items()]
        step = MOST_AT_ONCE - len(new)
        log: Callable[..., Any] = functools.partial(self._client.log_batch, synchronous=True)
        if self._is_web:
            log = self._quick_log
        elif mlflow.get_active_model_id() is not None:  # which the client would link each point to
            log = self._client._tracking_client.store.log_batch
        for first in range(0, len(points) or len(new), step):
            batch, is_last = points[first : first + step], first + step >= len(points)
            self._ask(log, run_id, metrics=batch, params=[], tags=new if is_last else [])

    def history(self, run_id: str, key: str) -> list[Metric]:
        """All points of a metric."""
        return list(self._ask(self._client.get_metric_history, run_id, key))

    def histories(self, run_id: str, keys: Iterable[str]) -> Generator[list[Metric]]:
        """All points of each of some metrics.

        No server that MLflow has tells of several metrics at once, but it answers several requests.
        Where one is not answered, they come one by one from then on: a gateway may count them.
        """
        get = self._quick_history if self._is_web else self._client.get_metric_history
        asked = (self._prepared(get, run_id, key) for key in keys)
        at_once = AT_ONCE if self.is_remote and self._takes_many else 1
        try:
            yield from self._patience.ask_all(asked, at_once)
        except MlflowException:
            self._takes_many = False
            raise

    def _quick_history(self, run_id: str, key: str) -> list[Metric]:
        """As MLflow's client tells it, in a third of the time that this one takes to read it."""
        login = self._client._tracking_client.store.get_host_creds()
        wanted = {"run_id": run_id, "metric_key": key}
        request: Callable[..., Any] = http_request  # which has no types
        answer = request(login, "/api/2.0/mlflow/metrics/get-history", "GET", params=wanted)
        if answer.status_code == 200:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found = answer.json()
                if "next_page_token" not in found:
                    return [_point(key, **point) for point in found["metrics"]]
        return list(self._client.get_metric_history(run_id, key))

    def _quick_log(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> None:
        """As MLflow's client sends it, which takes a fifth of the time to write and check it."""
        login = self._client._tracking_client.store.get_host_creds()
        body = {
            "run_id": run_id,
            "metrics": [
                {
                    "key": metric.key,
                    "value": _number(metric.value),
                    "timestamp": metric.timestamp,
                    "step": metric.step,
                }
                for metric in metrics
            ],
            "params": [{"key": param.key, "value": param.value} for param in params],
            "tags": [{"key": tag.key, "value": tag.value} for tag in tags],
        }
        request: Callable[..., Any] = http_request  # which has no types
        verify_rest_response(request(login, _LOG_BATCH, "POST", json=body), _LOG_BATCH)

    def _ask(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return self._patience.ask(self._prepared(function, *arguments, **named))

    def _prepared(
        self, function: Callable[..., Any], *arguments: Any, **named: Any
    ) -> Callable[[], Any]:
        """A call that is still to be made."""
        call: Callable[[], Any] = functools.partial(function, *arguments, **named)
        if self._database is None:
            return call
        return functools.partial(database.patient, self._database, call, self._patience.seconds)

    def _checked(self, run: Run, run_id: str | None = None) -> Run:
        """A gateway may answer ``{}`` to everything."""
        if not run.info.run_id or run_id not in (None, run.info.run_id):
            raise ConnectionError(
                "the tracking server has answered, but not with the run that it was asked for; "
                "does the address lead to MLflow, and do you have to log in?"
            )
        return run


def first_call(uri: str) -> None:
    """Have MLflow open what it stores in, and make it where it is new."""
    MlflowClient(uri).search_experiments(max_results=1)


def _number(value: float) -> float | str:
    """A number as JSON can hold it, and protocol buffers read it."""
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _point(
    name: str, value: float | str, timestamp: int | str, step: int | str = 0, **_: object
) -> Metric:
    return Metric(name, float(value), int(timestamp), int(step))
