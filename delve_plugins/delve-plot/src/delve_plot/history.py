"""One statistic of one mode over all epochs, for its heatmap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np


class History:
    """A value for each layer and epoch. Taking an epoch costs the same however many there are."""

    def __init__(self) -> None:
        self._layers: dict[str, int] = {}
        self.steps: dict[int, int] = {}  # of the epochs that have one
        self._rows: dict[int, np.ndarray] = {}  # as wide as the history was when the row came

    @property
    def layers(self) -> list[str]:
        """The layers that ever had a value, in first-seen order."""
        return list(self._layers)

    @property
    def epochs(self) -> list[int]:
        """The epochs held, in rising order."""
        return sorted(self._rows)

    def put(self, epoch: int, values: Mapping[str, float], step: int | None = None) -> None:
        """Add an epoch's values by layer, or replace them."""
        if step is not None:
            self.steps[epoch] = step
        places = [self._layers.setdefault(layer, len(self._layers)) for layer in values]
        row = np.full(len(self._layers), math.nan)
        row[places] = list(values.values())
        self._rows[epoch] = row

    def values(self, layers: Sequence[str]) -> np.ndarray:
        """Layers x epochs, NaN where there is no value."""
        table = np.full((len(self._rows), len(self._layers)), math.nan)
        for place, epoch in enumerate(self.epochs):
            row = self._rows[epoch]
            table[place, : len(row)] = row
        return table.T[[self._layers[layer] for layer in layers]]
