"""The points of a run's metrics, sent so that each stands in MLflow once."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence

from mlflow.entities import Metric as Entity

from delve.records import Metric
from delve_mlflow import refusals, runs
from delve_mlflow.client import Client
from delve_mlflow.identity import SENT
from delve_mlflow.keys import Keys
from delve_mlflow.proof import Proof
from delve_mlflow.rows import Row

_LAST = 2**63 - 1  # MLflow's numbers have 64 bits

Point = tuple[int, int, str]
Stamp = tuple[int, int]  # a step in MLflow, and the millisecond at which it was sent


class Points:
    """Sends the points of one run.

    A row's points have its training step as their step, and its epoch where it has none. By this
    step alone MLflow knows a row, and so does all that is said of steps here.

    Databases ignore a point that they hold, files do not, and a server does not say what it keeps
    its points in. So where a point may be there already, it is looked for.

    Args:
        client: MLflow's client.
        run_id: The run in MLflow.
        keys: How names become keys.
        owned: Whether Delve made the run.
        doubted_below: Rows of steps below this may be there, in part or whole.

    Attributes:
        proof: What has been sent, to be asked for.
        refused: Why MLflow does not take a key, by key.
    """

    def __init__(
        self, client: Client, run_id: str, keys: Keys, owned: bool, doubted_below: int
    ) -> None:
        self._client = client
        self._run_id = run_id
        self._names = keys
        self._owned = owned
        self._histories: dict[str, set[Point]] = {}
        self.doubted_below = doubted_below
        self.proof = Proof()
        self.refused: dict[str, str] = {}

    def send(self, row: Mapping[str, float], step: int, timestamp: int) -> dict[str, str]:
        """Send one row as one batch; returns why MLflow takes some names not, by name."""
        if not -_LAST <= step <= _LAST:
            return dict.fromkeys(row, f"MLflow's steps end at {_LAST}, and this one is {step}")
        keys = self._keys(row)
        points = self._entities(keys, row, step, timestamp)
        tags = self._tags(row, step, timestamp)
        try:
            refusals.deliver(
                points,
                lambda batch: self._client.log_points(self._run_id, batch, tags),
                self._lacking,
                lambda: runs.active(self._client, self._run_id) is not None,
                step < self.doubted_below,
                self.refused,
            )
        except Exception:
            self.doubted_below = max(self.doubted_below, step + 1)
            self._histories = {}
            raise
        self.proof.note(step, (key for key in keys if key not in self.refused))
        return {name: self.refused[key] for key, name in keys.items() if key in self.refused}

    def send_all(self, rows: Sequence[Row]) -> dict[str, str]:
        """Send epochs in rising order, together; returns why MLflow takes some names not, by name.

        What a server or a process that dies in between has kept is a beginning of them.
        """
        if len(rows) > 1 and all(abs(row.x) <= _LAST for row in rows):
            try:
                return self._send_together(rows)
            except Exception as error:
                if not refusals.is_refusal(error):
                    raise
        refused: dict[str, str] = {}
        for row in rows:  # which tells what of which is refused
            refused |= self.send(row.values, row.x, row.timestamp)
        return refused

    def _send_together(self, rows: Sequence[Row]) -> dict[str, str]:
        keys = [self._keys(row.values) for row in rows]
        points, tags = list[Entity](), dict[str, str]()
        for named, row in zip(keys, rows, strict=True):
            points += self._entities(named, row.values, row.x, row.timestamp)
            tags |= self._tags(row.values, row.x, row.timestamp)
        is_doubted = rows[0].x < self.doubted_below
        # Should they be given again, whatever comes in here, they are looked for.
        self.doubted_below = max(self.doubted_below, rows[-1].x + 1)
        try:
            if is_doubted:
                points = self._lacking(points)
            if points:
                self._client.log_points(self._run_id, points, tags)
        except BaseException:
            self._histories = {}
            raise
        for named, row in zip(keys, rows, strict=True):
            self.proof.note(row.x, (key for key in named if key not in self.refused))
        every_key = {key: name for named in keys for key, name in named.items()}
        return {name: self.refused[key] for key, name in every_key.items() if key in self.refused}

    def _keys(self, row: Mapping[str, float]) -> dict[str, str]:
        """The names of an epoch, by MLflow's keys."""
        return {self._names.of(name): name for name in row}

    def _entities(
        self, keys: Mapping[str, str], row: Mapping[str, float], step: int, timestamp: int
    ) -> list[Entity]:
        time = _time(timestamp)
        return [
            Entity(key, row[name], time, step)
            for key, name in keys.items()
            if key not in self.refused
        ]

    def _tags(self, row: Mapping[str, float], step: int, timestamp: int) -> dict[str, str]:
        # Without metrics of layers nothing else tells later that these points are Delve's.
        is_told = any(isinstance(name, Metric) for name in row)
        return {SENT: f"{step} {_time(timestamp)}"} if self._owned and not is_told else {}

    def _lacking(self, points: Sequence[Entity]) -> list[Entity]:
        last = runs.last_points(self._client.get_run(self._run_id))
        return [point for point in points if not self._is_held(point, last.get(point.key))]

    def _is_held(self, point: Entity, last: Entity | None) -> bool:
        if last is None or last.step < point.step:
            return False
        if identity(last) == identity(point):
            return True
        if point.key not in self._histories:
            history = self._client.history(self._run_id, point.key)
            self._histories[point.key] = {identity(held) for held in history}
        return identity(point) in self._histories[point.key]


def _time(timestamp: int) -> int:
    """The nearest time that MLflow can hold."""
    return min(max(timestamp, 0), _LAST)


def last_sent(tags: Mapping[str, str]) -> set[Stamp]:
    """What a run's tags tell of the last row without metrics of layers."""
    match = re.fullmatch(r"(-?\d{1,19}) (\d{1,19})", tags.get(SENT, ""))
    return {(int(match[1]), int(match[2]))} if match else set()


def identity(point: Entity) -> Point:
    """What tells two points of a metric apart, as a database holds them: without infinities."""
    value = point.value
    if not math.isnan(value):  # which is equal to nothing, but reads the same
        value = max(-sys.float_info.max, min(value, sys.float_info.max))
    return point.step, point.timestamp, repr(value)
