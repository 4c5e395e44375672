"""What statistics are computed from: a layer's moments, decomposed where somebody asks for it."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from delve.numerics.bounds import SpectrumBounds
from delve.numerics.company import Company
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.memory import is_out_of_memory
from delve.numerics.moments import Moments
from delve.numerics.sketched_spectrum import SketchedSpectrum, sketched
from delve.numerics.spectrum import Spectrum

# A feature varies by rounding alone where its deviation is below two roundings of float32 of its
# mean.
_ROUNDING = 2.0**-22


class LayerSpectrum(Spectrum):
    """A spectrum that is computed when it is first asked for.

    Means, variances and traces come without any decomposition.

    Args:
        covariance: Of at least one sample.
        vectors: Whether the leading eigenvectors are wanted.
        threshold: Given where nothing but the intrinsic dimensionality at this threshold, and
            shares of the largest eigenvalues, is read off the eigenvalues.
        company: What else is known of the layer.
        in_place: Whether the covariance's own sums may be read, rather than a copy of them.
    """

    has_moments = True

    covariance: TorchCovarianceMatrix
    company: Company

    def __init__(
        self,
        covariance: TorchCovarianceMatrix,
        vectors: bool = False,
        threshold: float | None = None,
        company: Company | None = None,
        in_place: bool = False,
    ) -> None:
        # The fields of a frozen class are set past its guard.
        vars(self).update(
            covariance=covariance,
            samples=covariance.samples,
            company=company or Company(),
            _vectors=vectors,
            _threshold=threshold,
            _in_place=in_place,
        )

    # Not `cached_property`, which before Python 3.12 has one lock for all layers: these are
    # decomposed in threads.
    @property
    def _parts(self) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """Centred rows where they are few, and their Gram matrix; else the scatter and the mean."""
        if "_held_parts" not in vars(self):
            vars(self)["_held_parts"] = self._taken_apart()
        parts: tuple[Tensor | None, Tensor, Tensor | None] = vars(self)["_held_parts"]
        return parts

    @property
    def _mean(self) -> Tensor:
        """(features,), float64, where the parts are."""
        rows, _, mean = self._parts
        if mean is None:
            _, kept, shift = self.covariance.parts()
            assert rows is not None
            assert kept is not None
            assert shift is not None
            mean = (shift.double() + kept.mean(dim=0, dtype=torch.float64)).to(rows.device)
        return mean

    @property
    def _whole(self) -> Spectrum:
        if "_held_whole" not in vars(self):
            vars(self)["_held_whole"] = self._decomposed()
        whole: Spectrum = vars(self)["_held_whole"]
        return whole

    @property
    def _if_decomposed(self) -> Spectrum | None:
        """What a decomposition found, if there was one and memory for it."""
        whole: Spectrum | None = vars(self).get("_held_whole")
        return whole if whole is not None and whole.bounds is None else None

    def decompose(self) -> None:
        """Take the eigendecomposition now."""
        _ = self._whole

    def know_training(self, trace: float) -> None:
        """Learn the total variance that the same row found in training."""
        vars(self)["company"] = replace(self.company, train_trace=trace)

    def _taken_apart(self) -> tuple[Tensor | None, Tensor, Tensor | None]:
        rows = self.covariance.rows_below_features()
        if rows is None:
            held = self.covariance
            moments = held.settled() if vars(self)["_in_place"] else held.moments()
            return None, moments.scatter, moments.mean
        return rows, rows @ rows.T, None

    def _decomposed(self) -> Spectrum:
        wanted: tuple[bool, float | None] = (vars(self)["_vectors"], vars(self)["_threshold"])
        try:
            rows, matrix, _ = self._parts
            return Spectrum.decomposed(self.covariance, matrix, rows, *wanted)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        return SketchedSpectrum.of_sketch(sketched(self.covariance))

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """(features,), falling, none below 0; NaN where the outputs were not finite."""
        return self._whole.eigenvalues

    @property
    def bounds(self) -> SpectrumBounds | None:
        """What is known where there was no memory to decompose the covariance."""
        return self._whole.bounds

    @cached_property
    def leading_vectors(self) -> np.ndarray | None:
        """(features x at most 2), the first eigenvectors, if they were asked for."""
        return self._whole.leading_vectors

    @cached_property
    def features(self) -> int:
        """The dimension of the layer's output space."""
        return self.covariance.features

    @cached_property
    def mean(self) -> np.ndarray:
        """(features,): the mean of the samples."""
        mean: np.ndarray = self._mean.cpu().numpy()
        return mean

    @cached_property
    def variances(self) -> np.ndarray:
        """(features,): the variance of each feature."""
        rows, matrix, _ = self._parts
        squares = matrix.diagonal() if rows is None else rows.square().sum(dim=0)
        variances: np.ndarray = squares.cpu().numpy() / self.samples
        return variances

    @cached_property
    def leading_feature(self) -> int:
        """The feature of the largest variance."""
        return int(self.variances.argmax())

    @cached_property
    def trace(self) -> float:
        """The trace of the covariance; NaN where the outputs were not finite."""
        whole = self._if_decomposed
        if whole is not None:
            return whole.trace
        return float(self._parts[1].trace()) / self.samples if self.is_finite else float("nan")

    @cached_property
    def is_finite(self) -> bool:
        """False where the layer's outputs held NaN or infinity."""
        whole = self._if_decomposed
        if whole is not None:
            return not math.isnan(whole.eigenvalues[0])
        return bool(torch.isfinite(self._parts[1].diagonal()).all())

    @cached_property
    def squares(self) -> float:
        """The sum of the squared eigenvalues, which is that of the matrix's squared elements."""
        if not self.is_finite:
            return float("nan")
        lower = self._parts[1].tril()  # all that is kept up of a covariance
        squares = 2 * lower.square().sum() - lower.diagonal().square().sum()
        return float(squares) / self.samples**2

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
        rows, matrix, _ = self._parts
        mean = self._mean
        if rows is None:
            return self._like_this(torch.addr(matrix, mean, mean, alpha=self.samples), None)
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
        return self._like_this(rows @ rows.T, rows)

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
