"""What the epochs of a run hold, gathered in one pass: reading a long run takes its time."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from delve.records import MODES, EpochRecord, Metric


@dataclass
class Extremes:
    """A scalar of the user's over all epochs.

    Attributes:
        last: Its last value.
        lowest: Its lowest finite value and the first epoch that reached it, None without any.
        highest: The same of the highest.
    """

    last: float = math.nan
    lowest: tuple[float, int] | None = None
    highest: tuple[float, int] | None = None

    def take(self, value: float, epoch: int) -> None:
        """Take in one more epoch's value."""
        self.last = value
        if math.isfinite(value):
            if self.lowest is None or value < self.lowest[0]:
                self.lowest = value, epoch
            if self.highest is None or value > self.highest[0]:
                self.highest = value, epoch


@dataclass
class Overview:
    """What the epochs hold.

    Attributes:
        scalars: The user's scalars, in first-seen order.
        first: The first finite value of each layer metric, or NaN, in first-seen order.
        holding: The epochs that hold a statistic in a mode, by (statistic, mode), in first-seen
            order.
        features: How many features layers have, as last told.
        since: From which epoch on layers have that many, where they had others before.
    """

    scalars: dict[str, Extremes] = field(default_factory=dict)
    first: dict[Metric, float] = field(default_factory=dict)
    holding: dict[tuple[str, str], array[int]] = field(default_factory=dict)
    features: dict[str, int] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[EpochRecord]) -> Overview:
        """What these epochs hold."""
        overview = cls()
        for record in records:
            overview._take(record)
        return overview

    def _take(self, record: EpochRecord) -> None:
        for name, value in record.scalars.items():
            extremes = self.scalars.get(name)
            if extremes is None:
                extremes = self.scalars[name] = Extremes()
            extremes.take(value, record.epoch)
        self._take_features(record)
        self._take_firsts(record.metrics)
        for key in dict.fromkeys([(metric.stat, metric.mode) for metric in record.metrics]):
            epochs = self.holding.get(key)
            if epochs is None:
                epochs = self.holding[key] = array("q")
            epochs.append(record.epoch)

    def _take_features(self, record: EpochRecord) -> None:
        """Where a layer has others than before, nothing is compared with what it was then."""
        features = record.features
        other = {name for name, n in features.items() if self.features.get(name, n) != n}
        if other:
            self.first = {m: value for m, value in self.first.items() if m.layer not in other}
            self.since |= dict.fromkeys(other, record.epoch)
        self.features |= features

    def _take_firsts(self, metrics: Mapping[Metric, float]) -> None:
        for metric, value in metrics.items():
            first = self.first.get(metric)
            if first is None or (first != first and math.isfinite(value)):
                self.first[metric] = value if math.isfinite(value) else math.nan

    @property
    def stats(self) -> dict[str, tuple[str, ...]]:
        """The modes of each statistic, by long name in first-seen order."""
        names = dict.fromkeys(stat for stat, _ in self.holding)
        return {
            stat: tuple(mode for mode in MODES if (stat, mode) in self.holding) for stat in names
        }

    def epochs_with(self, stat: str, modes: Iterable[str]) -> list[int]:
        """The epochs that hold a statistic in any of these modes, in rising order."""
        return sorted({epoch for mode in modes for epoch in self.holding.get((stat, mode), ())})
