"""The user's scalars over a whole recorded run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from delve.recorded_run import RecordedRun

_LOWEST_IS_BEST = ("loss", "err", "nll", "perplexity", "ppl", "mse", "mae")  # parts of names


@dataclass(frozen=True)
class ScalarSummary:
    """A scalar of the user's over the whole run.

    Attributes:
        name: Its name.
        last: Its last value.
        best: Its best finite value, None where none was finite.
        best_epoch: The first epoch that reached it.
        lowest: Whether the lowest value was taken for the best one, by the name.
    """

    name: str
    last: float
    best: float | None
    best_epoch: int | None
    lowest: bool


def summarise_scalars(run: RecordedRun) -> list[ScalarSummary]:
    """The user's scalars in first-seen order."""
    values: dict[str, dict[int, float]] = {}
    for record in run.records:
        for name, value in record.scalars.items():
            values.setdefault(name, {})[record.epoch] = value
    return [_summarise(name, history) for name, history in values.items()]


def _summarise(name: str, history: Mapping[int, float]) -> ScalarSummary:
    lowest = any(word in name.lower() for word in _LOWEST_IS_BEST)
    finite = {epoch: value for epoch, value in history.items() if math.isfinite(value)}
    best_epoch = (min if lowest else max)(finite, key=lambda e: finite[e], default=None)
    return ScalarSummary(
        name=name,
        last=list(history.values())[-1],
        best=None if best_epoch is None else finite[best_epoch],
        best_epoch=best_epoch,
        lowest=lowest,
    )
