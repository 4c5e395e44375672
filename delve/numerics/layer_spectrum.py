"""What statistics are computed from: a layer's moments, decomposed where somebody asks for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.moments import Moments
from delve.numerics.spectrum import Spectrum
from delve.numerics.tallies import Maximum, PositiveSum, SequenceSpread

# A feature varies by rounding alone where its deviation is below two roundings of float32 of its
# mean.
_ROUNDING = 2.0**-22


@dataclass(frozen=True)
class Company:
    """What is known of a layer beside its covariance, as far as a statistic has asked for it.

    Attributes:
        maximum: The largest value of each feature.
        positive: The sum of each feature's positive parts.
        spread: The variance within sequences, and between them.
        half: The covariance of every second batch.
        ceiling: The most directions in which the layer's outputs can vary, by its weight's shape.
        field: The share of the image that the layer's input sees.
        train_trace: The total variance that the same row found in training.
    """

    maximum: Maximum | None = None
    positive: PositiveSum | None = None
    spread: SequenceSpread | None = None
    half: TorchCovarianceMatrix | None = dataclasses.field(default=None, repr=False)
    ceiling: int | None = None
    field: float | None = None
    train_trace: float | None = None


class LayerSpectrum(Spectrum):
    """A spectrum that is computed when it is first asked for.

    Means, variances and traces come without any decomposition.

    Args:
        covariance: Of at least one sample.
        vectors: Whether the leading eigenvectors are wanted.
        threshold: Given where nothing but the intrinsic dimensionality at this threshold, and
            shares of the largest eigenvalues, is read off the eigenvalues.
        company: What else is known of the layer.
    """

    covariance: TorchCovarianceMatrix
    company: Company

    def __init__(
        self,
        covariance: TorchCovarianceMatrix,
        vectors: bool = False,
        threshold: float | None = None,
        company: Company | None = None,
    ) -> None:
        # The fields of a frozen class are set past its guard.
        vars(self).update(
            covariance=covariance,
            samples=covariance.samples,
            company=company or Company(),
            _vectors=vectors,
            _threshold=threshold,
        )

    @cached_property
    def _parts(self) -> tuple[Tensor | None, Tensor, Tensor]:
        """The centred rows where they are few, then the matrix to decompose, and the mean."""
        rows = self.covariance.rows_below_features()
        if rows is None:
            moments = self.covariance.moments()
            return None, moments.scatter.div_(moments.samples), moments.mean
        state = self.covariance.state_dict()
        mean = state["shift"].double() + state["rows"].mean(dim=0, dtype=torch.float64)
        return rows, rows @ rows.T / len(rows), mean.to(rows.device)

    @cached_property
    def _whole(self) -> Spectrum:
        rows, matrix, _ = self._parts
        wanted: tuple[bool, float | None] = (vars(self)["_vectors"], vars(self)["_threshold"])
        return Spectrum.decomposed(self.covariance, matrix, rows, *wanted)

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """(features,), falling, none below 0; NaN where the outputs were not finite."""
        return self._whole.eigenvalues

    @cached_property
    def leading_vectors(self) -> np.ndarray | None:
        """(features x at most 2), the first eigenvectors, if they were asked for."""
        return self._whole.leading_vectors

    @property
    def features(self) -> int:
        """The dimension of the layer's output space."""
        return self.covariance.features

    @cached_property
    def mean(self) -> np.ndarray:
        """(features,): the mean of the samples."""
        mean: np.ndarray = self._parts[2].cpu().numpy()
        return mean

    @cached_property
    def variances(self) -> np.ndarray:
        """(features,): the variance of each feature."""
        rows, matrix, _ = self._parts
        diagonal = matrix.diagonal() if rows is None else rows.square().mean(dim=0)
        variances: np.ndarray = diagonal.cpu().numpy()
        return variances

    @cached_property
    def trace(self) -> float:
        """The trace of the covariance; NaN where the outputs were not finite."""
        return float(self._parts[1].trace()) if self.is_finite else float("nan")

    @cached_property
    def is_finite(self) -> bool:
        """False where the layer's outputs held NaN or infinity."""
        return bool(torch.isfinite(self._parts[1].diagonal()).all())

    @cached_property
    def squares(self) -> float:
        """The sum of the squared eigenvalues, which is that of the matrix's squared elements."""
        if not self.is_finite:
            return float("nan")
        lower = self._parts[1].tril()  # all that is kept up of a covariance
        return float(2 * lower.square().sum() - lower.diagonal().square().sum())

    @cached_property
    def varying(self) -> np.ndarray:
        """(features,): whether a feature varies by more than rounding."""
        return np.asarray(self.variances > (_ROUNDING * self.mean) ** 2)

    @cached_property
    def standardised(self) -> Spectrum:
        """The spectrum of the correlation matrix; features that do not vary count as zeros."""
        rows, matrix, _ = self._parts
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(self.varying, 1 / np.sqrt(self.variances), 0.0)
        scales = torch.from_numpy(scale).to(matrix.device)
        if rows is None:
            return self._like_this(matrix * scales * scales[:, None], None)
        return self._of_rows(rows * scales)

    @cached_property
    def uncentred(self) -> Spectrum:
        """The spectrum of the raw second moments, around zero instead of the mean."""
        rows, matrix, mean = self._parts
        if rows is None:
            return self._like_this(torch.addr(matrix, mean, mean), None)
        return self._of_rows(rows + mean)

    def without(self, feature: int) -> Spectrum:
        """The spectrum of the other features."""
        rows, matrix, _ = self._parts
        if rows is not None:
            rows = rows.clone()
            rows[:, feature] = 0
            return self._of_rows(rows)
        matrix = matrix.clone()
        matrix[feature] = matrix[:, feature] = 0
        return self._like_this(matrix, None)

    @cached_property
    def halves(self) -> tuple[Spectrum, Spectrum] | None:
        """The spectra of every second batch and of the others; None where one has no sample."""
        half = self.company.half
        if half is None or not 0 < half.samples < self.samples:
            return None
        threshold = vars(self)["_threshold"]
        others = TorchCovarianceMatrix()
        others.merge_moments(_less(self.covariance.moments(), half.moments()))
        return Spectrum.of(half, threshold=threshold), Spectrum.of(others, threshold=threshold)

    def _of_rows(self, rows: Tensor) -> Spectrum:
        return self._like_this(rows @ rows.T / len(rows), rows)

    def _like_this(self, matrix: Tensor, rows: Tensor | None) -> Spectrum:
        return Spectrum.decomposed(
            self.covariance, matrix, rows, threshold=vars(self)["_threshold"]
        )


def _less(whole: Moments, part: Moments) -> Moments:
    """The moments of the samples that are in the whole, but not in the part."""
    samples = whole.samples - part.samples
    mean = (whole.mean * whole.samples - part.mean.to(whole.mean.device) * part.samples) / samples
    offset = part.mean.to(mean.device) - mean
    scatter = whole.scatter - part.scatter.to(whole.scatter.device)
    scatter.addr_(offset, offset, alpha=-part.samples * samples / whole.samples)
    return Moments(samples, mean, scatter)
