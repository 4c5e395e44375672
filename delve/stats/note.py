"""One thing that is wrong with a network, and the numbers of a row that tell of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from delve.records import Metric


@dataclass(frozen=True)
class Note:
    """One thing that is wrong.

    Attributes:
        kind: What kind of thing, as a short name for programs.
        layers: Where.
        text: A sentence for people.
        source: Where it was described.
    """

    kind: str
    layers: tuple[str, ...]
    text: str
    source: str

    def __str__(self) -> str:
        return f"{self.text} Source: {self.source}."


class Row:
    """The numbers of one row, by statistic.

    Args:
        layers: All layers in forward order.
        metrics: What was recorded.
    """

    def __init__(self, layers: Sequence[str], metrics: Mapping[Metric, float]) -> None:
        self.layers = layers
        self._values: dict[tuple[str, str], dict[str, float]] = {}
        for metric, value in metrics.items():
            self._values.setdefault((metric.stat, metric.mode), {})[metric.layer] = value

    def of(self, stat: str, mode: str | None = None) -> dict[str, float]:
        """The finite values in forward order; in evaluation, unless there is training alone."""
        found = (
            self._values.get((stat, mode), {})
            if mode
            else self._values.get((stat, "eval")) or self._values.get((stat, "train")) or {}
        )
        return {
            layer: found[layer]
            for layer in self.layers
            if layer in found and math.isfinite(found[layer])
        }
