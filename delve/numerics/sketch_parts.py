"""Rows and matrices in bands, so that what is computed for a sketch stays small beside it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from delve.numerics.directions import BAND, PROBES, Directions
from delve.numerics.scratch import scratch

PART_ROWS = 256  # that are multiplied at once: more would leave the cache, fewer pass sums often


def add_symmetric(sums: Tensor, lower: Tensor, columns: Tensor) -> None:
    """Add the product of a symmetric matrix, of which the lower triangle is there, with columns."""
    for begin in range(0, len(lower), PART_ROWS):
        band = lower[begin : begin + PART_ROWS]
        end = begin + len(band)
        left, corner = band[:, :begin], band[:, begin:end].tril()
        square = corner + corner.tril(-1).T
        sums[begin:end].add_(left @ columns[:begin]).add_(square @ columns[begin:end])
        sums[:begin].add_(left.T @ columns[begin:end])


class RowPart:
    """Rows around their mean, and the way there as one more row, a band of features at a time.

    Args:
        rows: The rows, as they came.
        directions: What they will be multiplied with.
        origin: (features,), float64: what is taken off them.
        known: (features,), float64: the mean so far, less the origin.
        weight: What the way from there counts, as the root of a number of samples.

    Attributes:
        mean: (features,), float64: of the rows, less the sketch's origin.
        squares: The sum of the squares of all rows, once :meth:`images` was called.
        exact: (rows + 1 x width), float64: the band at hand.
        plain: The same in the precision of the products.
        step: How many features a band has.
        width: How many the one at hand has, as the last may have fewer.
    """

    def __init__(
        self, rows: Tensor, directions: Directions, origin: Tensor, known: Tensor, weight: float
    ) -> None:
        self._rows, self._directions, self._origin = rows, directions, origin
        self._known, self._weight = known, weight
        self.step = min(directions.features, BAND)
        shape = (len(rows) + 1, self.step)
        self._exact = scratch(shape, torch.float64, rows.device)
        is_double = rows.dtype == torch.float64
        self._plain = self._exact if is_double else scratch(shape, torch.float32, rows.device)
        self._at = -1
        self.mean = torch.zeros_like(origin)
        self.squares = origin.new_zeros(())
        self._is_known = False  # whether the mean is

    @property
    def width(self) -> int:  # noqa: D102
        return min(self.step, self._directions.features - self._at)

    @property
    def exact(self) -> Tensor:  # noqa: D102
        return self._exact[:, : self.width]

    @property
    def plain(self) -> Tensor:  # noqa: D102
        return self._plain[:, : self.width]

    def images(self) -> tuple[Tensor, Tensor]:
        """The rows' products with the directions, and with their random combinations."""
        directions = self._directions
        count, dtype = len(self._exact), self._plain.dtype
        images = self._plain.new_zeros(count, directions.columns)
        probes = self._exact.new_zeros(count, PROBES)
        for band in self.bands():
            images.addmm_(self.plain, directions.matrix[band].to(dtype))
            probes.addmm_(self.exact, directions.images[band])
            if self.width == self._directions.features:
                flat = self._exact.view(-1)
                self.squares.add_(torch.dot(flat, flat))
            else:
                self.squares.add_(self.exact.square().sum())
        self._is_known = True
        return images, probes

    def bands(self) -> Iterator[slice]:
        """Go through the bands; what is at hand already is not made again."""
        for begin in range(0, self._directions.features, self.step):
            band = slice(begin, begin + self.step)
            if self._at != begin:
                self._at = begin
                self._fill(band)
            yield band

    def _fill(self, band: slice) -> None:
        origin, exact, mean = self._origin, self.exact, self.mean[band]
        exact[:-1].copy_(self._rows[:, band])
        exact[:-1].sub_(origin[band])  # one step for both would take three times as long
        if not self._is_known:
            torch.mean(exact[:-1], dim=0, out=mean)
        exact[:-1].sub_(mean)
        torch.sub(mean, self._known[band], out=exact[-1]).mul_(self._weight)
        if self._plain is not self._exact:
            self.plain.copy_(exact)
