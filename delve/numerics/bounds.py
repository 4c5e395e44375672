"""What a sketch proves of a spectrum: bounds of the sums of leading eigenvalues.

Let S be the scatter of the samples, positive semidefinite, t its trace, O the directions of the
sketch, Y = S O + E the products that were summed, E what rounding did to them, F(j) the sum of the
j largest eigenvalues of S. Known are Y, O, and bounds on t and on the Frobenius norm e of E.

1. **A part of S.** Let W = (O'Y + Y'O)/2 = U T U' and w = ||O|| e, so that O'SO <= W + w (in the
   order of symmetric matrices). Of the columns of U those are taken whose T is at least some
   multiple of w, and M = U (T + w)^-1/2. Then K = S^1/2 O M is a contraction, as
   K'K = M'O'SOM <= M'(W + w)M = 1, and with B0 = S^1/2 K we have B0 B0' <= S: Nystrom's
   approximation, with W made larger by what is in doubt.
2. **From below.** So the eigenvalues of B0 B0' are none above those of S, one by one (Weyl), and
   F(j) is at least the sum of the j largest squared singular values of B0.
3. **From above.** S = B0 B0' + R with R positive semidefinite of trace t - ||B0||^2 (Frobenius).
   Sums of leading eigenvalues are subadditive (Ky Fan 1949), and that of R is at most its trace:
   F(j) <= t - (the sum of all but the j largest squared singular values of B0).
4. **What is seen of it.** B0 is not known, but B = Y M is, and B - B0 = E M, of a Frobenius norm
   of at most r = e / (the least T + w taken)^1/2. The root of the sum of the j largest squared
   singular values is a norm, and that of all others the distance to the matrices of rank j: both
   change by r at most.
5. **Beyond the columns.** F is concave, and F(m) = t for m = min(features, samples - 1), which no
   rank exceeds: F lies above the chord from any (j, lower bound of F(j)) to (m, t).
6. **Rounding.** E is measured: the sketch also sums, in float64, S times some Gaussian combinations
   g of the directions, drawn apart from the samples. As Y g - S O g = E g, and for p such g and any
   E the chance that the mean of |E g|^2 is below ||E||^2 / c is at most (exp(1 - 1/c) / c)^(p/2)
   (Chernoff; the moment generating function of a weighted sum of chi-squares is largest where all
   weight is on one), e is taken as sqrt(c) times the root of the mean: with c = 256 and p = 12 it
   fails less than once in 10^11 sketches. What float64 itself rounds, in the worst case (Higham,
   Accuracy and Stability, 3.1), is added to it, to t, and as the trace norm of a change of S that
   the means' own rounding stands for.

Different multiples of w give bounds that hold all; the best of them is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from delve.numerics.directions import BAND, PROBES, Directions

_UNIT = 2.0**-53  # of float64: half the distance from 1 to the next number
_CAUTION = 256.0**0.5
_MULTIPLES = (2.0**2, 2.0**6, 2.0**10, 2.0**14, 2.0**18)
_NOISE = 1e-10  # of the largest squared singular value: what is no direction of the samples
_ROUNDING = 1e-12  # of the threshold: what the statistics themselves count as reaching it


@dataclass(frozen=True)
class SpectrumBounds:
    """Bounds of the sums of leading eigenvalues, as shares of the trace.

    Attributes:
        lower: (count + 1,): of the sums of the 0, 1, 2, ... largest, from below.
        upper: (count + 1,): the same from above; later sums have no bound but the trace.
        trace_doubt: How much of the trace may be rounding.
        rank: How many eigenvalues may be above 0.
    """

    lower: np.ndarray
    upper: np.ndarray
    trace_doubt: float
    rank: int

    @classmethod
    def nothing(cls, rank: int) -> SpectrumBounds:
        """All that holds where nothing is known."""
        return cls(np.zeros(1), np.ones(1), 1.0, rank)

    def intrinsic_dimensionality(self, threshold: float) -> tuple[int, int]:
        """Between which two numbers it lies, both included."""
        most, least = 1 + self.trace_doubt, 1 - self.trace_doubt
        needed = threshold * least * (1 - _ROUNDING)
        reaching = np.flatnonzero(self.upper[1:] >= needed)
        low = int(reaching[0]) + 1 if len(reaching) else len(self.upper)
        shares = self.lower / most
        counts = np.arange(len(shares))
        # How far along each chord the threshold is reached.
        ways = np.clip((threshold - shares) / np.maximum(1 - shares, _UNIT), 0, 1)
        ends = counts + np.ceil(ways * np.maximum(self.rank - counts, 0) * (1 + 1e-9))
        high = int(max(1, min(ends.min(), self.rank)))
        return min(low, high), high


@dataclass(frozen=True)
class Proof:
    """From the sums of a sketch to bounds; the steps are those of the module's text.

    Args:
        products: (features x columns), float64: Y.
        probes: (features x PROBES), float64: S times the combinations of the directions.
        directions: O.
        trace: t.
        samples: How many there were.
        additions: How often something was added to the sums.
        rows: How many at most were multiplied at once.
        spread: The root of the sum of the samples' squares, less the origin.
    """

    products: Tensor
    probes: Tensor
    directions: Directions
    trace: float
    samples: int
    additions: int
    rows: int
    spread: float

    @property
    def rank(self) -> int:
        """How many eigenvalues may be above 0."""
        return max(1, min(self.directions.features, self.samples - 1))

    @property
    def bounds(self) -> SpectrumBounds:
        """The bounds of all multiples of w, the best taken at each place."""
        if self.trace == 0:  # exactly: equal samples give zeros
            return SpectrumBounds(np.ones(2), np.ones(2), 0.0, 1)
        if not self._is_usable or not self._counts:
            return SpectrumBounds.nothing(self.rank)
        columns = self.directions.columns
        lower, upper = np.zeros(columns + 1), np.full(columns + 1, 1 + self._trace_doubt)
        for count in self._counts:
            below, above = self._of(count)
            lower[: count + 1] = np.maximum(lower[: count + 1], below)
            lower[count + 1 :] = np.maximum(lower[count + 1 :], below[-1])
            upper[: count + 1] = np.minimum(upper[: count + 1], above)
        return SpectrumBounds(lower, upper, self._trace_doubt, self.rank)

    @property
    def turn(self) -> Tensor | None:
        """Makes orthonormal columns of Y, along the singular vectors of B; None without any."""
        if not self.trace > 0 or not self._is_usable or not self._counts:
            return None
        squares, vectors = torch.linalg.eigh(self._gram)
        squares, vectors = squares.flip(0), vectors.flip(1)
        kept = squares > _NOISE * squares[0]
        turn: Tensor = (self._scaling @ vectors[:, kept]) / squares[kept].sqrt() / self.trace
        return turn.to(self.products.device)

    def _of(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Bounds by so many columns of U."""
        squares = torch.linalg.eigvalsh(self._gram[:count, :count]).flip(0).clamp(min=0).numpy()
        sums = np.concatenate([[0.0], np.cumsum(squares)])
        rest = np.maximum(sums[-1] - sums, 0)
        features, columns = self.directions.matrix.shape
        doubt = 8 * _UNIT * (features + columns) * sums[-1]
        # B is as computed, so what its product rounded is added to what B0 is away from it.
        rounded = 4 * _UNIT * columns * self._size * float(self._scaling[:, :count].norm())
        away = self._error / float(self._enlarged[count - 1]) ** 0.5 + rounded
        seen = np.maximum(np.sqrt(np.maximum(sums - doubt, 0)) - away, 0) ** 2
        unseen = np.maximum(np.sqrt(np.maximum(rest - doubt, 0)) - away, 0) ** 2
        lower = np.maximum(seen - self._shifted, 0)
        return lower, 1 + self._trace_doubt - unseen + self._shifted

    @cached_property
    def _is_usable(self) -> bool:
        return bool(np.isfinite(self._error) and np.isfinite(self._size) and self._shifted < 1)

    @cached_property
    def _size(self) -> float:
        """The Frobenius norm of Y, as a share of the trace."""
        return float(torch.linalg.vector_norm(self.products)) / self.trace

    @cached_property
    def _error(self) -> float:
        """A bound on the Frobenius norm of E, as a share of the trace (step 6)."""
        gauge = self.directions.gauge
        errors = (self.products @ gauge - self.probes).square().sum() / self.trace**2 / PROBES
        features, columns = self.directions.matrix.shape
        terms = features + columns + self.rows + self.additions + 16
        lengths = math.sqrt(gauge.square().mean() * len(gauge))
        worst = 4 * _UNIT * terms * self._norms[0] * lengths
        return _CAUTION * (math.sqrt(errors) + worst)

    @cached_property
    def _shifted(self) -> float:
        """The trace norm of the change of S that rounded means stand for, as a share of t."""
        steps = 2 * self.rows + 8 + self.additions**1.5
        away = float(_UNIT * steps * self.spread / math.sqrt(self.trace))
        return 2 * away + away * away

    @cached_property
    def _trace_doubt(self) -> float:
        terms = self.rows * self.directions.features + self.additions + 16
        return 2 * _UNIT * terms + self._shifted

    @cached_property
    def _norms(self) -> tuple[float, float]:
        """The Frobenius norm of the directions, and their spectral norm."""
        gram = _sum(
            band.double().T @ band.double() for band in torch.split(self.directions.matrix, BAND)
        )
        largest = float(torch.linalg.eigvalsh(gram)[-1])
        return float(gram.trace()) ** 0.5, largest**0.5 * (1 + 1e-9)

    @cached_property
    def _decomposed(self) -> tuple[Tensor, Tensor, float]:
        """T falling, U, and w."""
        bands = zip(
            torch.split(self.directions.matrix, BAND), torch.split(self.products, BAND), strict=True
        )
        core = _sum(band.double().T @ products for band, products in bands) / self.trace
        values, vectors = torch.linalg.eigh((core + core.T) / 2)
        features, columns = self.directions.matrix.shape
        rounded = _UNIT * (features + 8 * columns) * self._norms[0] * self._size
        return values.flip(0), vectors.flip(1), self._norms[1] * self._error + rounded

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        """How many columns of U each multiple of w leaves."""
        values, _, doubt = self._decomposed
        counts = [int((values >= multiple * doubt).sum()) for multiple in _MULTIPLES]
        return tuple(dict.fromkeys(count for count in counts if count))

    @cached_property
    def _enlarged(self) -> Tensor:
        """T + w of the columns taken, and what U lacks of being orthogonal."""
        values, _, doubt = self._decomposed
        return (values[: self._counts[0]] + doubt) * (1 + _ROUNDING)

    @cached_property
    def _scaling(self) -> Tensor:
        """M."""
        return self._decomposed[1][:, : self._counts[0]] / self._enlarged.sqrt()

    @cached_property
    def _gram(self) -> Tensor:
        """B'B; that of fewer columns is its leading part."""
        scaling = self._scaling.to(self.products.device) / self.trace
        return _sum(
            (part := products @ scaling).T @ part for products in torch.split(self.products, BAND)
        )


def _sum(matrices: Iterable[Tensor]) -> Tensor:
    """Small matrices added up, on the CPU."""
    return torch.stack([matrix.cpu() for matrix in matrices]).sum(dim=0)
