"""The points of a run's metrics, sent so that each stands in MLflow once."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric

from delve_mlflow import refusals, runs
from delve_mlflow.keys import clean_key

MOST_AT_ONCE = 1000  # what one request takes
_LAST = 2**63 - 1  # MLflow's numbers have 64 bits

Point = tuple[int, int, str]


class Points:
    """Sends the points of one run.

    Databases ignore a point that they hold, files do not, and a server does not say what it keeps
    its points in. So where a point may be there already, it is looked for.

    Args:
        client: MLflow's client.
        run_id: The run in MLflow.
        prefix: What each key begins with.

    Attributes:
        doubted_below: Epochs below this may be there, in part or whole.
        refused: Why MLflow does not take a key, by key.
    """

    def __init__(self, client: MlflowClient, run_id: str, prefix: str, doubted_below: int) -> None:
        self._client = client
        self._run_id = run_id
        self._prefix = prefix
        self._histories: dict[str, set[Point]] = {}
        self.doubted_below = doubted_below
        self.refused: dict[str, str] = {}

    def send(self, row: Mapping[str, float], epoch: int, timestamp: int) -> dict[str, str]:
        """Send one epoch as one batch; returns why MLflow takes some names not, by name."""
        if not -_LAST <= epoch <= _LAST:
            return dict.fromkeys(row, f"MLflow's steps end at {_LAST}, and the epoch is {epoch}")
        keys = {clean_key(self._prefix + name): name for name in row}
        time = min(max(timestamp, 0), _LAST)
        points = [
            Metric(key, row[name], time, epoch)
            for key, name in keys.items()
            if key not in self.refused
        ]
        try:
            refusals.deliver(
                points,
                lambda batch: log(self._client, self._run_id, batch),
                self._lacking,
                lambda: runs.active(self._client, self._run_id) is not None,
                epoch < self.doubted_below,
                self.refused,
            )
        except Exception:
            self.doubted_below = max(self.doubted_below, epoch + 1)
            self._histories = {}
            raise
        return {name: self.refused[key] for key, name in keys.items() if key in self.refused}

    def _lacking(self, points: Sequence[Metric]) -> list[Metric]:
        last = runs.last_points(self._client.get_run(self._run_id))
        return [point for point in points if not self._is_held(point, last.get(point.key))]

    def _is_held(self, point: Metric, last: Metric | None) -> bool:
        if last is None or last.step < point.step:
            return False
        if _identity(last) == _identity(point):
            return True
        if point.key not in self._histories:
            history = self._client.get_metric_history(self._run_id, point.key)
            self._histories[point.key] = {_identity(held) for held in history}
        return _identity(point) in self._histories[point.key]


def log(client: MlflowClient, run_id: str, points: Sequence[Metric]) -> None:
    """Log points to a run, and to no model: none can be dropped there when a run goes back."""
    if mlflow.get_active_model_id() is None:
        client.log_batch(run_id, metrics=points, synchronous=True)
        return
    # The client would link each to the user's active model.
    store = client._tracking_client.store
    for first in range(0, len(points), MOST_AT_ONCE):
        store.log_batch(run_id, metrics=points[first : first + MOST_AT_ONCE], params=[], tags=[])


def _identity(point: Metric) -> Point:
    """What tells two points of a metric apart, as a database holds them: without infinities."""
    value = point.value
    if not math.isnan(value):  # which is equal to nothing, but reads the same
        value = max(-sys.float_info.max, min(value, sys.float_info.max))
    return point.step, point.timestamp, repr(value)
