"""How statistics are computed from a spectrum, and delve 0.1's functions of a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from delve.base.checks import check_share

if TYPE_CHECKING:  # with PyTorch, which the command does without
    from torch import Tensor

    from delve.numerics.spectrum import Spectrum

# Summed shares that miss the threshold by no more than float64 rounding count as reaching it.
_ROUNDING = 1e-12


def intrinsic_dimensionality(spectrum: Spectrum, threshold: float) -> float:
    """The smallest k whose k largest eigenvalues sum to ``threshold`` of the total variance.

    At least 1, also for outputs that never vary. Of a layer that is gathered by sketch it is the
    middle of the bounds that hold it: no other number is as near to all that lies between them.
    Source: Richter et al., arXiv 2006.08679.
    """
    if spectrum.bounds is not None:
        low, high = spectrum.bounds.intrinsic_dimensionality(threshold)
        return (low + high) / 2
    counted = vars(spectrum).setdefault("_counted", {})  # several statistics ask for the same
    if threshold not in counted:
        counted[threshold] = _counted(spectrum, threshold)
    return float(counted[threshold])


def _counted(spectrum: Spectrum, threshold: float) -> float:
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


def bound_of_dimensionality(end: int, spectrum: Spectrum, threshold: float) -> float | None:
    """The lower end (0) or the upper (1) of what holds it; None where they agree."""
    if spectrum.bounds is None:
        return None
    ends = spectrum.bounds.intrinsic_dimensionality(threshold)
    return float(ends[end]) if ends[0] < ends[1] else None


def bound_of_saturation(end: int, spectrum: Spectrum, threshold: float) -> float | None:
    """The lower end (0) or the upper (1) of what holds it; None where they agree."""
    bound = bound_of_dimensionality(end, spectrum, threshold)
    return None if bound is None else bound / spectrum.features


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


def compute_intrinsic_dimensionality(cov: Tensor, thresh: float = 0.99) -> int | float:
    """Intrinsic dimensionality of a covariance matrix; NaN if the matrix is not finite.

    Args:
        cov: (features x features).
        thresh: The share of the variance that counts as explained, in (0, 1].

    Raises:
        ArgumentError: ``cov`` is no square matrix, or ``thresh`` no such share.
    """
    k = intrinsic_dimensionality(_spectrum_of(cov), check_share("thresh", thresh))
    return k if np.isnan(k) else int(k)


def compute_saturation(cov: Tensor, thresh: float = 0.99) -> float:
    """Saturation of a covariance matrix, in (0, 1]; NaN if the matrix is not finite.

    Args:
        cov: (features x features).
        thresh: The share of the variance that counts as explained, in (0, 1].

    Raises:
        ArgumentError: ``cov`` is no square matrix, or ``thresh`` no such share.
    """
    return saturation(_spectrum_of(cov), check_share("thresh", thresh))


def compute_cov_determinant(cov: Tensor) -> float:
    """The determinant of a covariance matrix, (features x features): generalised variance.

    Raises:
        ArgumentError: ``cov`` is no square matrix.
    """
    return covariance_determinant(_spectrum_of(cov), 0)


def compute_cov_trace(cov: Tensor) -> float:
    """The trace of a covariance matrix, (features x features): total variance.

    Raises:
        ArgumentError: ``cov`` is no square matrix.
    """
    from delve.numerics.spectrum import square

    return float(square(cov).trace())


def compute_diag_trace(cov: Tensor) -> float:
    """The trace of the diagonalised covariance matrix, with rounding below 0 set to 0.

    Args:
        cov: (features x features).

    Raises:
        ArgumentError: ``cov`` is no square matrix.
    """
    return diagonal_trace(_spectrum_of(cov), 0)


def _spectrum_of(cov: Tensor) -> Spectrum:
    from delve.numerics.spectrum import Spectrum

    return Spectrum.of_matrix(cov)
