"""The spectrum of a layer's covariance: its eigenvalues, by one decomposition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from delve.errors import ArgumentError
from delve.numerics.bounds import SpectrumBounds
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.eigenspace import eigenspace, eigenvalues, rough_eigenvalues, settled

_NO_VARIANCE = 1e-12  # of the largest eigenvalue: what float64 cannot tell from none


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues of one layer's covariance matrix, and what they were computed from.

    Attributes:
        eigenvalues: (features,), falling, none below 0; NaN where the outputs were not finite.
        samples: How many samples the covariance was taken over.
        trace: The trace of the matrix, before rounding below 0 was clamped.
        covariance: The covariance itself.
        bounds: What is known of a layer that is gathered by sketch, whose eigenvalues are NaN.
        leading_vectors: (features x at most 2), the first eigenvectors, if they were asked for;
            the sign is such that the component of greatest size is positive.
    """

    has_moments: ClassVar[bool] = False  # whether it is a LayerSpectrum

    eigenvalues: np.ndarray
    samples: int
    trace: float = float("nan")
    covariance: TorchCovarianceMatrix | None = field(default=None, repr=False)
    leading_vectors: np.ndarray | None = field(default=None, repr=False)
    bounds: SpectrumBounds | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        covariance: TorchCovarianceMatrix,
        vectors: bool = False,
        threshold: float | None = None,
        in_place: bool = False,
    ) -> Spectrum:
        """The spectrum of a covariance, by one eigendecomposition.

        Where samples are fewer than features, it is that of their Gram matrix.

        Args:
            covariance: Of at least one sample.
            vectors: Whether the leading eigenvectors are wanted.
            threshold: Given where nothing but the intrinsic dimensionality at this threshold is
                read off the eigenvalues: they may then be as rough as float32, if that leaves it
                beyond doubt.
            in_place: Whether the covariance's own sums may be used, rather than a copy of them.
        """
        rows = covariance.rows_below_features()
        if rows is None:
            moments = covariance.settled() if in_place else covariance.moments()
            return cls.decomposed(covariance, moments.scatter, None, vectors, threshold)
        return cls.decomposed(covariance, rows @ rows.T, rows, vectors, threshold)

    @classmethod
    def decomposed(
        cls,
        covariance: TorchCovarianceMatrix,
        matrix: Tensor,
        rows: Tensor | None,
        vectors: bool = False,
        threshold: float | None = None,
    ) -> Spectrum:
        """As :meth:`of`, from the samples' scatter or the Gram matrix of their rows.

        LAPACK reads the lower triangle alone.
        """
        features, samples = covariance.features, covariance.samples
        # A feature that is not finite anywhere has no finite variance.
        if not torch.isfinite(matrix.diagonal()).all():
            broken = np.full(features, np.nan)
            empty = np.full((features, min(2, features)), np.nan) if vectors else None
            return cls(broken, samples, float("nan"), covariance, empty)
        leading: np.ndarray | None = None
        if vectors:
            values, directions = eigenspace(matrix)
            directions = directions[:, :2]
            if rows is not None:
                # What the samples have along a direction without variance is rounding, not 0.
                varies = values[:2] > _NO_VARIANCE * values[0]
                directions = torch.where(varies, rows.T @ directions, 0.0)
            leading = _leading(directions)
        else:
            rough = None if threshold is None else rough_eigenvalues(matrix, threshold)
            values = eigenvalues(matrix) if rough is None else rough
        padded = np.zeros(features)
        padded[: len(values)] = values.cpu().numpy() / samples
        return cls(padded, samples, float(matrix.trace()) / samples, covariance, leading)

    @classmethod
    def of_matrix(cls, matrix: Tensor) -> Spectrum:
        """The spectrum of a covariance matrix, (features x features).

        Raises:
            ArgumentError: It is no square matrix.
        """
        matrix = square(matrix)
        if not torch.isfinite(matrix).all():
            return cls(np.full(len(matrix), np.nan), 0)
        return cls(eigenvalues(matrix).cpu().numpy(), 0, float(matrix.trace()))

    def decompose(self) -> None:
        """Take the eigendecomposition now, where it is not taken yet."""

    def know_training(self, trace: float) -> None:
        """Learn the total variance that the same row found in training, to compare."""

    @property
    def features(self) -> int:
        """The dimension of the layer's output space."""
        return len(self.eigenvalues)

    @property
    def is_finite(self) -> bool:
        """False where the layer's outputs held NaN or infinity."""
        return bool(np.isfinite(self.eigenvalues).all()) or self.bounds is not None

    @property
    def shares(self) -> np.ndarray:
        """Each eigenvalue's share of the total variance; all on the first if nothing varies."""
        total = self.eigenvalues.sum()
        if total == 0:
            return np.eye(1, self.features).ravel()
        return np.asarray(self.eigenvalues / total)


def square(matrix: Tensor) -> Tensor:
    """A matrix that can be a covariance, float64.

    Raises:
        ArgumentError: It is no square matrix.
    """
    matrix = torch.as_tensor(matrix).detach()
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.numel():
        raise ArgumentError(
            "a covariance matrix has as many rows as columns, (features x features), not the "
            f"shape {tuple(matrix.shape)}; TorchCovarianceMatrix makes one of samples"
        )
    return matrix.double()


def _leading(directions: Tensor) -> np.ndarray:
    """Unit columns of settled sign; a direction without any variance stays 0."""
    norms = directions.norm(dim=0)
    unit = settled(directions / torch.where(norms == 0, 1.0, norms))
    columns: np.ndarray = unit.cpu().numpy()
    return columns
