"""The statistics that are computed from a spectrum, and their table."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from delve.base.checks import check_share
from delve.numerics.spectrum import Spectrum, square

LEADING = 5  # eigenvalues that `spectrum` gives as scalars

# Summed shares that miss the threshold by no more than float64 rounding count as reaching it.
_ROUNDING = 1e-12
# Eigenvalues below this share of the largest are rounding of float32 activations.
_NOISE = 1e-6


def intrinsic_dimensionality(spectrum: Spectrum, threshold: float) -> float:
    """The smallest k whose k largest eigenvalues sum to ``threshold`` of the total variance.

    At least 1, also for outputs that never vary. Source: Richter et al., arXiv 2006.08679.
    """
    if not spectrum.is_finite:
        return float("nan")
    explained = np.cumsum(spectrum.eigenvalues)
    needed = threshold * explained[-1] * (1 - _ROUNDING)
    return float(np.searchsorted(explained, needed) + 1)


def saturation(spectrum: Spectrum, threshold: float) -> float:
    """Intrinsic dimensionality over the number of features, in (0, 1].

    Source: Shenk 2018; Richter et al., arXiv 2006.08679.
    """
    return intrinsic_dimensionality(spectrum, threshold) / spectrum.features


def covariance_determinant(spectrum: Spectrum, _threshold: float) -> float:
    """The product of the eigenvalues, also called generalised variance; it may underflow to 0."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.prod(spectrum.eigenvalues))


def covariance_trace(spectrum: Spectrum, _threshold: float) -> float:
    """The trace of the covariance matrix, also called total variance."""
    return spectrum.trace


def diagonal_trace(spectrum: Spectrum, _threshold: float) -> float:
    """The sum of the eigenvalues, after rounding below 0 was set to 0."""
    return float(spectrum.eigenvalues.sum())


def effective_rank(spectrum: Spectrum, _threshold: float) -> float:
    """The exponential of the entropy of the eigenvalues' shares, from 1 to the features.

    Source: Roy and Vetterli, The effective rank, EUSIPCO 2007; taken here on the eigenvalues of
    the covariance, where they take the singular values of the matrix itself.
    """
    shares = spectrum.shares[~(spectrum.shares == 0)]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def participation_ratio(spectrum: Spectrum, _threshold: float) -> float:
    """(sum l)^2 / sum l^2, from 1 to the features; 1 for outputs that never vary."""
    return float(1 / (spectrum.shares**2).sum())


def stable_rank(spectrum: Spectrum, _threshold: float) -> float:
    """The sum of the eigenvalues over the largest, at least 1; 1 for outputs that never vary."""
    return float(1 / spectrum.shares[0])


def power_law_exponent(spectrum: Spectrum, _threshold: float) -> float:
    """The exponent a of eigenvalue ~ rank^-a, by least squares of log against log.

    The ranks from 1 to the last whose eigenvalue is above 1e-6 of the largest are fitted, at most
    one less than there are samples. NaN for fewer than two. Source: Agrawal et al., alpha-ReQ,
    NeurIPS 2022.
    """
    values = spectrum.eigenvalues
    count = int((values > _NOISE * values[0]).sum())
    if spectrum.samples:
        count = min(count, spectrum.samples - 1)
    if count < 2:
        return float("nan")
    slope = np.polyfit(np.log(np.arange(1, count + 1)), np.log(values[:count]), 1)[0]
    return float(-slope)


def sample_count(spectrum: Spectrum, _threshold: float) -> float:
    """How many samples the statistics were taken over."""
    return float(spectrum.samples)


def nth_eigenvalue(n: int, spectrum: Spectrum, _threshold: float) -> float | None:
    """The n-th largest eigenvalue, counted from 1; None where there are fewer."""
    return float(spectrum.eigenvalues[n - 1]) if n <= spectrum.features else None


def all_eigenvalues(spectrum: Spectrum, _threshold: float) -> np.ndarray:
    """All eigenvalues, (features,), falling."""
    return spectrum.eigenvalues


def covariance_matrix(spectrum: Spectrum, _threshold: float) -> np.ndarray | None:
    """The population covariance, (features x features), float64."""
    if spectrum.covariance is None:
        return None
    matrix: np.ndarray = spectrum.covariance.fix().cpu().numpy()
    return matrix


def embedded_samples(spectrum: Spectrum, _threshold: float) -> np.ndarray | None:
    """The epoch's first samples, centred, on the two leading eigenvectors: (at most 1000 x 2)."""
    if spectrum.covariance is None or spectrum.leading_vectors is None:
        return None
    samples = spectrum.covariance.saved_samples
    if samples is None:
        return None
    centred = samples.double().cpu() - spectrum.covariance.moments().mean.cpu()
    plane = np.zeros((spectrum.features, 2))
    plane[:, : spectrum.leading_vectors.shape[1]] = spectrum.leading_vectors
    embedded: np.ndarray = centred.numpy() @ plane
    return embedded


@dataclass(frozen=True)
class Stat:
    """A statistic: what users select it by, what they see, and how it is computed.

    Attributes:
        key: The name in the tracker's ``stats``. Several statistics may share one.
        name: The long name in the keys of metrics, of lower-case letters, digits and hyphens.
        compute: Takes the spectrum and the threshold; returns a number (or an array, where
            ``is_array``), or None where the layer has none.
        is_array: Whether it gives an array, for writers that can store one.
        needs_samples: Whether the first samples and the leading eigenvectors are needed.
        needs_eigenvalues: False if it reads no more off the eigenvalues than the intrinsic
            dimensionality, which can then be had in less time.
    """

    key: str
    name: str
    compute: Callable[[Spectrum, float], float | np.ndarray | None]
    is_array: bool = False
    needs_samples: bool = False
    needs_eigenvalues: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise ValueError(
                f"the long name of a statistic is of lower-case letters, digits and hyphens, not "
                f"{self.name!r}"
            )


STATS = (
    Stat("lsat", "saturation", saturation, needs_eigenvalues=False),
    Stat("idim", "intrinsic-dimensionality", intrinsic_dimensionality, needs_eigenvalues=False),
    Stat("cov", "covariance-matrix", covariance_matrix, is_array=True, needs_eigenvalues=False),
    Stat("det", "covariance-determinant", covariance_determinant),
    Stat("trc", "covariance-trace", covariance_trace, needs_eigenvalues=False),
    Stat("dtrc", "diagonal-trace", diagonal_trace),
    Stat("embed", "embedded-sample", embedded_samples, is_array=True, needs_samples=True),
    Stat("spectrum", "spectrum", all_eigenvalues, is_array=True),
    *(Stat("spectrum", f"spectrum-{n}", partial(nth_eigenvalue, n)) for n in range(1, LEADING + 1)),
    Stat("erank", "effective-rank", effective_rank),
    Stat("pr", "participation-ratio", participation_ratio),
    Stat("srank", "stable-rank", stable_rank),
    Stat("alpha", "power-law-exponent", power_law_exponent),
    Stat("n", "samples", sample_count, needs_eigenvalues=False),
)


def compute_intrinsic_dimensionality(cov: Tensor, thresh: float = 0.99) -> int | float:
    """Intrinsic dimensionality of a covariance matrix; NaN if the matrix is not finite.

    Args:
        cov: (features x features).
        thresh: The share of the variance that counts as explained, in (0, 1].

    Raises:
        ArgumentError: ``cov`` is no square matrix, or ``thresh`` no such share.
    """
    k = intrinsic_dimensionality(Spectrum.of_matrix(cov), check_share("thresh", thresh))
    return k if np.isnan(k) else int(k)


def compute_saturation(cov: Tensor, thresh: float = 0.99) -> float:
    """Saturation of a covariance matrix, in (0, 1]; NaN if the matrix is not finite.

    Args:
        cov: (features x features).
        thresh: The share of the variance that counts as explained, in (0, 1].

    Raises:
        ArgumentError: ``cov`` is no square matrix, or ``thresh`` no such share.
    """
    return saturation(Spectrum.of_matrix(cov), check_share("thresh", thresh))


def compute_cov_determinant(cov: Tensor) -> float:
    """The determinant of a covariance matrix, (features x features): generalised variance.

    Raises:
        ArgumentError: ``cov`` is no square matrix.
    """
    return covariance_determinant(Spectrum.of_matrix(cov), 0)


def compute_cov_trace(cov: Tensor) -> float:
    """The trace of a covariance matrix, (features x features): total variance.

    Raises:
        ArgumentError: ``cov`` is no square matrix.
    """
    return float(square(cov).trace())


def compute_diag_trace(cov: Tensor) -> float:
    """The trace of the diagonalised covariance matrix, with rounding below 0 set to 0.

    Args:
        cov: (features x features).

    Raises:
        ArgumentError: ``cov`` is no square matrix.
    """
    return diagonal_trace(Spectrum.of_matrix(cov), 0)
