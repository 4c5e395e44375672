"""A sketch of the covariance of a stream of samples: its trace, and its products with directions.

For layers so wide that their covariance, (features x features), is not to be held. What the sums
prove of the spectrum is in :mod:`delve.numerics.bounds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from delve.numerics.bounds import Proof, SpectrumBounds
from delve.numerics.directions import PROBES, Directions
from delve.numerics.moments import exact_products
from delve.numerics.sketch_parts import PART_ROWS, RowPart, add_symmetric

_GPU_PART_ELEMENTS = 2**22
_LEAST_BLOCK = 32  # rows


class Sketch:
    """One pass over samples: count, mean, trace, and the scatter's products with directions.

    With S the scatter, the sum over samples of (x - mean)(x - mean)', it sums S times the
    directions, from float32 products that are added up in float64, and, in float64 throughout, the
    trace of S and S times a few random combinations of the directions: the difference shows how
    much was rounded. Rows are taken around the mean of their part, and the way from the mean so far
    to that of the part is one more row (Chan, Golub and LeVeque 1979), so all that is added is
    positive, and nothing cancels, however the mean drifts.

    Args:
        directions: What the products are taken with.

    Attributes:
        samples: How many samples were seen.
        directions: As given.
        following: The directions for the next epoch, once the bounds were asked for.
        saved_samples: None: none are kept.
    """

    saved_samples: Tensor | None = None

    def __init__(self, directions: Directions) -> None:
        self.directions = directions
        self.samples = 0
        self.following: Directions | None = None
        self._known: tuple[int, SpectrumBounds] | None = None  # the last bounds, of how many
        self._parts = 0  # how often something was added to the sums
        self._largest = 1  # rows of a part
        self._origin: Tensor | None = None  # (features,): a sample, so that equal ones give zeros
        self._block: Tensor | None = None  # (rows x features), as they came
        self._rows = 0  # of the block that are in use
        features, device = directions.features, directions.matrix.device
        self._taken = 0  # samples in the sums
        self._mean = torch.zeros(features, dtype=torch.float64, device=device)  # less the origin
        self._products = torch.zeros(directions.matrix.shape, dtype=torch.float64, device=device)
        self._probes = torch.zeros(features, PROBES, dtype=torch.float64, device=device)
        self._trace = torch.zeros((), dtype=torch.float64, device=device)

    def clear(self) -> None:
        """Forget all samples; what follows stays."""
        following = self.following
        self.__init__(self.directions)  # type: ignore[misc]
        self.following = following

    @property
    def features(self) -> int:
        """The dimension of the samples."""
        return self.directions.features

    @property
    def device(self) -> torch.device:
        """Where the sums are."""
        return self.directions.matrix.device

    def update(self, x: Tensor) -> None:
        """Take one batch of any floating dtype; an empty one is ignored.

        Args:
            x: (samples x features), or (batch x positions x features).

        Raises:
            ValueError: The number of features is not that of the directions.
        """
        with torch.inference_mode(False), torch.no_grad():
            if x.shape[-1] != self.features:
                raise ValueError(
                    f"samples of {x.shape[-1]} features cannot follow samples of {self.features}"
                )
            is_to_cpu = self.device.type == "cpu"
            rows = x.detach().to(self.device, non_blocking=not is_to_cpu)
            rows = rows.reshape(-1, self.features)
            if not len(rows):
                return
            if self._origin is None:
                self._origin = rows[0].double()
            self._take(rows)

    def mean(self) -> Tensor:
        """The mean of all samples so far, (features,), float64."""
        self._empty_block()
        return self._mean if self._origin is None else self._mean + self._origin

    def trace(self) -> float:
        """The trace of the population covariance of all samples so far."""
        self._empty_block()
        return float(self._trace) / self.samples if self.samples else float("nan")

    def signature(self) -> list[float]:
        """Numbers by which equal samples are known: their count, and what they add up to."""
        mean, trace = self.mean().cpu(), float(self._trace)
        turns = torch.arange(1, self.features + 1, dtype=torch.float64).cos()
        size = float(mean.abs().sum()) + (trace / max(self.samples, 1)) ** 0.5
        return [float(self.samples), float(mean @ turns), trace, size, trace]

    @torch.no_grad()
    def bounds(self) -> SpectrumBounds:
        """What is proven of the spectrum."""
        if self._known and self._known[0] == self.samples:
            return self._known[1]
        self._empty_block()
        trace = float(self._trace)
        proof = Proof(
            self._products,
            self._probes,
            self.directions,
            trace=trace,
            samples=self.samples,
            additions=self._parts,
            rows=self._largest,
            spread=(float(self._mean.square().sum()) * self.samples + trace) ** 0.5,
        )
        turn = proof.turn
        if turn is not None:
            self.following = self.directions.renewed(self._products, turn)
        self._known = self.samples, proof.bounds
        return self._known[1]

    @torch.no_grad()
    def merge(self, other: Sketch) -> None:
        """Add what another sketch with the same directions has seen.

        Raises:
            ValueError: The directions are others.
        """
        if other.directions is not self.directions and (
            other.directions.identity != self.directions.identity
        ):
            raise ValueError("sketches with different directions do not add up")
        other._empty_block()
        self._empty_block()
        if not other._taken or other._origin is None:
            return
        if self._origin is None:
            self._origin = other._origin.to(self.device)
        self.samples += other._taken
        offset = (other._origin.to(self.device) - self._origin) + other._mean.to(self.device)
        self._products.add_(other._products.to(self.device))
        self._probes.add_(other._probes.to(self.device))
        self._trace.add_(other._trace.to(self.device))
        self._parts += other._parts
        self._largest = max(self._largest, other._largest)
        self._move(offset, other._taken)

    def add_scatter(self, samples: int, mean: Tensor, lower: Tensor) -> None:
        """Add samples that were gathered exactly.

        Args:
            samples: How many.
            mean: (features,), float64.
            lower: (features x features), float64: their scatter, right on and below the diagonal.
        """
        if self._origin is None:
            self._origin = mean.double().clone()
        self._empty_block()
        self.samples += samples
        for sums, columns in (
            (self._products, self.directions.matrix.double()),
            (self._probes, self.directions.images),
        ):
            add_symmetric(sums, lower, columns)
        self._trace.add_(lower.diagonal().sum())
        self._parts += 2 + len(lower) // PART_ROWS
        self._move(mean.double() - self._origin, samples)

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`from_state_dict` needs to go on, but the directions."""
        self._empty_block()
        return {
            "sketched": True,
            "samples": self.samples,
            "parts": self._parts,
            "largest": self._largest,
            "origin": None if self._origin is None else self._origin.clone(),
            "mean": self._mean.clone(),
            "products": self._products.clone(),
            "probes": self._probes.clone(),
            "trace": self._trace.clone(),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any], directions: Directions) -> Sketch:
        """What a :meth:`state_dict` was made of.

        Args:
            state: The state.
            directions: Those that the sketch had.
        """
        self = cls(directions)

        def moved(tensor: Tensor) -> Tensor:
            return tensor.clone().to(directions.matrix.device)

        self.samples = self._taken = state["samples"]
        self._parts, self._largest = state["parts"], state["largest"]
        self._origin = None if state["origin"] is None else moved(state["origin"])
        self._mean, self._products = moved(state["mean"]), moved(state["products"])
        self._probes, self._trace = moved(state["probes"]), moved(state["trace"])
        return self

    def _take(self, rows: Tensor) -> None:
        capacity = max(_LEAST_BLOCK, self.directions.columns // 2)
        if len(rows) < capacity:
            self._put(rows, capacity)
            return
        self._empty_block()
        most = PART_ROWS
        if self.device.type != "cpu":
            most = max(most, _GPU_PART_ELEMENTS // self.features)
        for part in torch.split(rows, most):
            self._add(part)
            self.samples += len(part)

    def _put(self, rows: Tensor, capacity: int) -> None:
        """Keep few rows until there are more of them."""
        if self._block is not None and self._block.dtype != rows.dtype:
            self._empty_block()
            self._block = None
        if self._rows + len(rows) > capacity:
            self._empty_block()
        if self._block is None:
            self._block = rows.new_empty(capacity, self.features)
        self._block[self._rows : self._rows + len(rows)] = rows
        self._rows += len(rows)
        self.samples += len(rows)

    def _empty_block(self) -> None:
        if self._block is not None and self._rows:
            with torch.inference_mode(False), torch.no_grad():
                self._add(self._block[: self._rows])
            self._rows = 0

    def _add(self, rows: Tensor) -> None:
        """Add rows to the sums; all that takes memory comes before the first sum changes."""
        origin, count = self._origin, len(rows)
        assert origin is not None
        total = self._taken + count
        part = RowPart(
            rows, self.directions, origin, self._mean, (self._taken * count / total) ** 0.5
        )
        with exact_products(self.device):
            images, probes = part.images()
            summands = images.new_empty(part.step, self.directions.columns)
            offset = part.mean - self._mean
            for band in part.bands():
                torch.mm(part.plain.T, images, out=summands[: part.width])
                self._products[band].add_(summands[: part.width])
                self._probes[band].addmm_(part.exact.T, probes)
        self._trace.add_(part.squares)
        self._mean.add_(offset, alpha=count / total)
        self._taken = total
        self._parts += 1
        self._largest = max(self._largest, count + 1)

    def _move(self, mean: Tensor, count: int) -> None:
        """Have sums of others count around the mean of all: they were around their own."""
        total = self._taken + count
        offset = mean - self._mean
        weight = self._taken * count / total
        self._products.addr_(offset, self.directions.transposed_product(offset), alpha=weight)
        self._probes.addr_(offset, offset @ self.directions.images, alpha=weight)
        self._trace.add_(offset.square().sum(), alpha=weight)
        self._mean.add_(offset, alpha=count / total)
        self._taken = total
        self._parts += 1
