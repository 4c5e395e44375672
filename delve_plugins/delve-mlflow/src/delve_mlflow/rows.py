"""Epochs on their way to MLflow: those that come again wait until a request is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from delve.records import RunInfo, enumerate_epochs

MOST_AT_ONCE = 1000  # metrics and tags that one request takes


@dataclass(frozen=True)
class Row:
    """The numbers of one epoch.

    Attributes:
        epoch: The epoch.
        timestamp: When it was saved, in milliseconds since 1970.
        values: The numbers by name.
        step: Its training step, if it has one.
    """

    epoch: int
    timestamp: int
    values: Mapping[str, float]
    step: int | None = None

    @property
    def x(self) -> int:
        """The step that its points have in MLflow: the training step, else the epoch."""
        return self.epoch if self.step is None else self.step


class Waiting:
    """Epochs that are still to be sent, in their order."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    @property
    def first(self) -> int | None:
        """The first of them."""
        return self.rows[0].epoch if self.rows else None

    def has_room_for(self, row: Row) -> bool:
        """Whether one request can take this one too, and a tag."""
        return sum(len(held.values) for held in self.rows) + len(row.values) < MOST_AT_ONCE

    def add(self, row: Row) -> None:
        """Have one more wait; it takes the place of the same epoch."""
        self.rows = [held for held in self.rows if held.epoch != row.epoch] + [row]

    def clear(self) -> None:
        """None waits any more."""
        self.rows = []


def rows_named(steps: Sequence[int], run: RunInfo) -> str:
    """Rows that are known by their steps in MLflow, in words."""
    if run.axis == "step":
        return f"the rows of steps {', '.join(map(str, steps))}"
    return f"epochs {enumerate_epochs(steps)}"
