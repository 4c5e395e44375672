"""The cells of a heatmap: all epochs, several in a column where there are many."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_COLUMNS = 400  # more would be narrower than a dot of the screen
_MOST_MARKS = 1000


@dataclass(frozen=True)
class Cells:
    """A value for each layer and column.

    Attributes:
        values: Layers x columns: the mean of a column's epochs, NaN where none has a value.
        step: The number of epochs in a column.
        first: The first epoch.
        last: The last epoch.
        lacking: How many epochs there are in which a layer has no value.
        marks: Where these are: each of them, or, of many that lie side by side, some.
    """

    values: np.ndarray
    step: int
    first: int
    last: int
    lacking: int
    marks: np.ndarray

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top, where an epoch's number is its middle."""
        layers, columns = self.values.shape
        return self.first - 0.5, self.first + columns * self.step - 0.5, layers - 0.5, -0.5


def cells_of(values: np.ndarray, epochs: Sequence[int]) -> Cells:
    """Put epochs into columns. What it takes grows with their count, not with their numbers.

    Args:
        values: Layers x epochs; what is not finite is no value.
        epochs: In rising order; those between them were not recorded, and have no value either.
    """
    first, last = epochs[0], epochs[-1]
    step = -(-(last - first + 1) // MOST_COLUMNS)
    columns = -(-(last - first + 1) // step)
    has_value = np.isfinite(values)
    column = (np.array(epochs, dtype=np.int64) - first) // step
    spans = _spans_without(epochs, has_value.all(axis=0))
    return Cells(
        values=_means(values, has_value, column, columns),
        step=step,
        first=first,
        last=last,
        lacking=sum(end - begin for begin, end in spans),
        marks=_marks(spans, -(-(last - first + 1) // _MOST_MARKS)),
    )


def _means(
    values: np.ndarray, has_value: np.ndarray, column: np.ndarray, columns: int
) -> np.ndarray:
    """The mean of the numbers of each layer and column; NaN where it has none."""
    means = np.full((len(values), columns), np.nan)
    for layer, (row, counted) in enumerate(zip(values, has_value, strict=True)):
        counts = np.bincount(column[counted], minlength=columns)
        sums = np.bincount(column[counted], weights=row[counted], minlength=columns)
        np.divide(sums, counts, out=means[layer], where=counts > 0)
    return means


def _spans_without(epochs: Sequence[int], is_full: np.ndarray) -> list[tuple[int, int]]:
    """The first of the epochs without a value of each layer, and the one behind them, by gap."""
    full = [epoch for epoch, has_all in zip(epochs, is_full, strict=True) if has_all]
    edges = itertools.pairwise([epochs[0] - 1, *full, epochs[-1] + 1])
    return [(before + 1, after) for before, after in edges if after - before > 1]


def _marks(spans: Sequence[tuple[int, int]], step: int) -> np.ndarray:
    """Epochs of the spans, of those that share a step one."""
    marks: list[int] = []
    for begin, end in spans:
        least = begin if not marks else max(begin, marks[-1] + step)
        marks += range(least, end, step)
    return np.array(marks, dtype=np.int64)
