"""Rows that wait until there are enough of them for one product."""

from __future__ import annotations

import torch
from torch import Tensor


class RowBlock:
    """A block of rows that grows as it fills, up to the size that its owner asks for.

    Args:
        storage: (rows x features): rows that are in use, or none.

    Attributes:
        count: How many rows are in use.
    """

    def __init__(self, storage: Tensor) -> None:
        self._storage = storage
        self.count = len(storage)

    @classmethod
    def none(cls, features: int, dtype: torch.dtype, device: torch.device) -> RowBlock:
        """A block without rows."""
        return cls(torch.empty(0, features, dtype=dtype, device=device))

    @property
    def rows(self) -> Tensor:
        """Those in use, (count x features)."""
        return self._storage[: self.count]

    @property
    def dtype(self) -> torch.dtype:
        """Of the rows."""
        return self._storage.dtype

    def space(self, rows: int, most: int) -> Tensor:
        """Room for so many more rows, to be written to at once; they count as in use.

        Args:
            rows: How many.
            most: How many the block holds when it is full.
        """
        needed, there = self.count + rows, self._storage.shape[0]
        if there < needed:
            length = min(max(most, needed), max(needed, 2 * there))
            larger = self._storage.new_empty(length, self._storage.shape[1])
            larger[: self.count] = self.rows
            self._storage = larger
        self.count = needed
        return self._storage[needed - rows : needed]

    def rows_and_one(self) -> Tensor:
        """Those in use, with room for one more at the end."""
        rows = self.space(1, self.count + 1)
        self.count -= len(rows)
        return self._storage[: self.count + 1]

    def empty(self, most: int) -> None:
        """No rows are in use any more; what is beyond so many of them is given back."""
        self.count = 0
        if len(self._storage) > most + 1:
            self._storage = self._storage.new_empty(0, self._storage.shape[1])

    def to(self, device: torch.device) -> RowBlock:
        """The same on a device, where they may be already."""
        return RowBlock(self.rows.to(device))
