"""The cells of a heatmap: all epochs, several in a column where there are many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_COLUMNS = 400  # more would be narrower than a dot of the screen


@dataclass(frozen=True)
class Cells:
    """A value for each layer and column.

    Attributes:
        values: Layers x columns: the mean of a column's epochs, NaN where none has a value.
        step: The number of epochs in a column.
        first: The first epoch.
        last: The last epoch.
        lacking: The epochs in which a layer has no value.
    """

    values: np.ndarray
    step: int
    first: int
    last: int
    lacking: np.ndarray

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top, where an epoch's number is its middle."""
        layers, columns = self.values.shape
        return self.first - 0.5, self.first + columns * self.step - 0.5, layers - 0.5, -0.5


def cells_of(values: np.ndarray, epochs: Sequence[int]) -> Cells:
    """Put epochs into columns.

    Args:
        values: Layers x epochs; what is not finite is no value.
        epochs: In rising order; those between them were not recorded, and have no value either.
    """
    first, last = epochs[0], epochs[-1]
    step = math.ceil((last - first + 1) / MOST_COLUMNS)
    columns = math.ceil((last - first + 1) / step)
    grid = np.full((len(values), columns * step), np.nan)
    grid[:, np.array(epochs) - first] = np.where(np.isfinite(values), values, np.nan)
    lacking = np.flatnonzero(np.isnan(grid[:, : last - first + 1]).any(axis=0)) + first
    return Cells(_means(grid.reshape(len(grid), columns, step)), step, first, last, lacking)


def _means(groups: np.ndarray) -> np.ndarray:
    """The mean of each group's numbers; NaN where it has none."""
    counts = np.count_nonzero(~np.isnan(groups), axis=-1)
    means = np.nansum(groups, axis=-1) / np.maximum(counts, 1)
    return np.where(counts, means, np.nan)
