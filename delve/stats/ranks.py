"""How many directions a layer uses, and how its eigenvalues fall."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:  # with PyTorch, which the command does without
    from delve.numerics.layer_spectrum import LayerSpectrum
    from delve.numerics.spectrum import Spectrum

# Eigenvalues below this share of the largest are rounding of float32 activations.
_NOISE = 1e-6
# Of the ranks that hold more than noise, those that a power law is fitted to: the first ones are
# few and follow no law, and the last third and more is bent down by the number of samples.
_FIRST_RANK, _FIRST_SHARE, _LAST_SHARE, _LAST_RANK = 11, 16, 3, 500
_FEWEST_RANKS = 4
_KUMAR = 0.99  # of the sum of the singular values


def effective_rank(spectrum: Spectrum, _threshold: float) -> float:
    """The exponential of the entropy of the eigenvalues' shares, from 1 to the features.

    Source: Roy and Vetterli, The effective rank, EUSIPCO 2007; taken here on the eigenvalues of
    the covariance, where they take the singular values of the matrix itself.
    """
    shares = spectrum.shares[~(spectrum.shares == 0)]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def participation_ratio(spectrum: Spectrum, _threshold: float) -> float | None:
    """(sum l)^2 / sum l^2 without the bias of few samples; 1 for outputs that never vary.

    Of n samples, both sums are too large in the mean: by what they have been taken from products of
    a sample with itself. The closed form leaves that out, as for independent normal samples, and
    lies between 1 and the features. NaN for fewer than three samples. Source: Chun et al., arXiv
    2509.26560; the sums as in Srivastava, Journal of the Japan Statistical Society 2005.
    """
    trace, squares = _sums(spectrum)
    if np.isnan(squares):
        return None if spectrum.is_finite else float("nan")  # the eigenvalues are not known
    if trace == 0:
        return 1.0
    free = spectrum.samples - 1
    if not spectrum.samples:  # of a matrix of unknown samples
        return float(trace**2 / squares)
    if free < 2:
        return float("nan")
    # Of the unbiased covariance, in units of the trace.
    square_of_sum, sum_of_squares = 1.0, squares / trace**2
    unbiased = (sum_of_squares - square_of_sum / free) * free**2 / ((free - 1) * (free + 2))
    if not unbiased > 0:  # more even than samples of any distribution would be in the mean
        return float(spectrum.features)
    ratio = (square_of_sum - 2 * unbiased / free) / unbiased
    return float(min(max(ratio, 1.0), spectrum.features))


def stable_rank(spectrum: Spectrum, _threshold: float) -> float:
    """The sum of the eigenvalues over the largest, at least 1; 1 for outputs that never vary."""
    return float(1 / spectrum.shares[0])


def power_law_exponent(spectrum: Spectrum, _threshold: float) -> float:
    """The exponent a of eigenvalue ~ rank^-a, by weighted least squares of log against log.

    Of the ranks whose eigenvalue is above 1e-6 of the largest, at most one less than there are
    samples, the first sixteenth (at least 1 rank, at most 10) and all beyond the first third or
    rank 500 are left out; each of the rest, at least 4 where there are so many, counts with weight
    1 / rank. NaN for fewer than two. Source: Agrawal et al., alpha-ReQ, NeurIPS 2022; range and
    weights after Stringer et al., Nature 2019.
    """
    values = spectrum.eigenvalues
    count = int((values > _NOISE * values[0]).sum())
    if spectrum.samples:
        count = min(count, spectrum.samples - 1)
    first = max(2, min(_FIRST_RANK, count // _FIRST_SHARE + 1))
    last = max(count // _LAST_SHARE, first + _FEWEST_RANKS - 1)
    ranks = np.arange(first, min(last, count, _LAST_RANK) + 1)
    if len(ranks) < 2:
        return float("nan")
    # numpy squares the weights.
    slope = np.polyfit(np.log(ranks), np.log(values[ranks - 1]), 1, w=1 / np.sqrt(ranks))[0]
    return float(-slope)


def rank_me(spectrum: Spectrum, _threshold: float) -> float | None:
    """The exponential of the entropy of the singular values' shares, of samples as they are.

    Source: Garrido et al., RankMe, arXiv 2210.02885.
    """
    layer = layer_spectrum(spectrum)
    if layer is None:
        return None
    shares = _singular_shares(layer)
    shares = shares[~(shares == 0)]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def singular_rank(spectrum: Spectrum, _threshold: float) -> float | None:
    """The smallest k whose k largest singular values sum to 0.99 of all, of samples as they are.

    Source: Kumar et al., arXiv 2010.14498.
    """
    layer = layer_spectrum(spectrum)
    if layer is None:
        return None
    explained = np.cumsum(_singular_shares(layer))
    if not np.isfinite(explained).all():
        return float("nan")
    return float(np.searchsorted(explained, _KUMAR * explained[-1] * (1 - 1e-12)) + 1)


def _singular_shares(spectrum: LayerSpectrum) -> np.ndarray:
    values = np.sqrt(spectrum.uncentred.eigenvalues)
    total = values.sum()
    return np.eye(1, len(values)).ravel() if total == 0 else np.asarray(values / total)


def _sums(spectrum: Spectrum) -> tuple[float, float]:
    """The sum of the eigenvalues, and of their squares."""
    layer = layer_spectrum(spectrum)
    if layer is not None:
        return layer.trace, layer.squares
    return float(spectrum.eigenvalues.sum()), float((spectrum.eigenvalues**2).sum())


def layer_spectrum(spectrum: Spectrum) -> LayerSpectrum | None:
    """The same where it has a layer's moments too; None for a bare matrix, or a sketch."""
    return cast("LayerSpectrum", spectrum) if spectrum.has_moments else None
