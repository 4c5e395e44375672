"""The directions that a sketch looks along: random at first, then the range of the last epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

BAND = 8192  # features at a time, so that what is computed of a wide layer stays small
PROBES = 12  # random combinations of the directions, along which rounding is measured
_SEED = 20_060_867_9  # arXiv 2006.08679; the same in every process, so that sketches add up
_FRESH = 16  # one in so many columns is random in every epoch, for what has not been seen yet


class Directions:
    """Columns that the products of a sketch are taken with.

    Any columns give true bounds; the nearer they come to the leading eigenvectors, the narrower.
    They are kept in float16, as which they are exactly known: rounding them turns them by some
    1e-4, which changes what a sketch captures by the square of that.

    Args:
        matrix: (features x columns), float16.
        generation: How often they were renewed.

    Attributes:
        matrix: As given.
        generation: As given.
        gauge: (columns x PROBES), float64: the random combinations.
        images: (features x PROBES), float64: the directions so combined.
    """

    def __init__(self, matrix: Tensor, generation: int = 0) -> None:
        self.matrix = matrix
        self.generation = generation
        features, columns = matrix.shape
        # Independent of the directions and of the samples, as the bound on rounding needs.
        self.gauge = _normal((columns, PROBES), features, columns, -1).double().to(matrix.device)
        self.images = torch.cat([band.double() @ self.gauge for band in torch.split(matrix, BAND)])

    @classmethod
    def random(cls, features: int, columns: int, device: torch.device) -> Directions:
        """Gaussian ones of about unit length, the same in every process."""
        normal = _normal((features, columns), features, columns, 0) / features**0.5
        return cls(normal.half().to(device))

    @property
    def features(self) -> int:
        """The dimension of the samples."""
        return len(self.matrix)

    @property
    def columns(self) -> int:
        """How many directions there are."""
        return self.matrix.shape[1]

    @property
    def identity(self) -> tuple[int, int, int, float]:
        """What tells two sets of directions apart."""
        first = self.matrix[:, 0].double()
        steps = torch.arange(1, len(first) + 1, dtype=first.dtype, device=first.device)
        return (*self.matrix.shape, self.generation, float(first @ steps))

    def transposed_product(self, vector: Tensor) -> Tensor:
        """(columns,), float64: each column's product with a vector."""
        parts = zip(torch.split(self.matrix, BAND), torch.split(vector, BAND), strict=True)
        return torch.stack([part @ band.double() for band, part in parts]).sum(dim=0)

    def renewed(self, products: Tensor, turn: Tensor) -> Directions:
        """The next epoch's: along the range of what these have captured.

        Args:
            products: (features x columns), float64.
            turn: (columns x at most columns), float64: makes orthonormal columns of them, the most
                important first.
        """
        count = min(turn.shape[1], self.columns - self.columns // _FRESH)
        shape = (self.features, self.columns - count)
        fresh = _normal(shape, self.features, self.columns, self.generation + 1)
        matrix = self.matrix.new_empty(self.matrix.shape)
        for begin in range(0, self.features, BAND):
            band = slice(begin, begin + BAND)
            matrix[band, :count] = products[band] @ turn[:, :count]
        matrix[:, count:] = fresh.div_(self.features**0.5).to(matrix.device)
        return Directions(matrix, self.generation + 1)

    def to(self, device: torch.device) -> Directions:
        """The same on a device, where they may be already."""
        if self.matrix.device == device:
            return self
        return Directions(self.matrix.to(device), self.generation)

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`from_state_dict` needs."""
        return {"matrix": self.matrix.clone(), "generation": self.generation}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Directions:
        """What a :meth:`state_dict` was made of."""
        return cls(state["matrix"].clone(), state["generation"])


def _normal(shape: tuple[int, int], features: int, columns: int, generation: int) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(
        _SEED + 1_000_003 * features + 1009 * columns + generation
    )
    return torch.randn(shape, generator=generator, device="cpu")
