"""What saturation alone cannot tell of a layer: balance, mean, dead features, ceiling and error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from delve.numerics.company import Company
from delve.stats.functions import intrinsic_dimensionality, saturation
from delve.stats.ranks import effective_rank, layer_spectrum

if TYPE_CHECKING:  # with PyTorch, which the command does without
    from delve.numerics.spectrum import Spectrum

NAN = float("nan")

# When one feature outweighs the others, so that saturation without it is worth its own
# decomposition: a share of the total variance, and how many times the median of all variances.
_HEAVY_SHARE, _HEAVY_RATIO, _HEAVY_FEATURES = 0.3, 100.0, 8
# Of the mean over the layer, below which a feature's mean activation makes it dormant.
_DORMANT = 0.025


def standardised_saturation(spectrum: Spectrum, threshold: float) -> float | None:
    """Saturation of the correlation matrix: each feature counts as much as any other."""
    dimensions = standardised_dimensionality(spectrum, threshold)
    return None if dimensions is None else dimensions / spectrum.features


def standardised_dimensionality(spectrum: Spectrum, threshold: float) -> float | None:
    """Intrinsic dimensionality of the correlation matrix; features that never vary add none."""
    layer = layer_spectrum(spectrum)
    if layer is None:
        return None
    return intrinsic_dimensionality(layer.standardised, threshold)


def standardised_effective_rank(spectrum: Spectrum, threshold: float) -> float | None:
    """Effective rank of the correlation matrix."""
    layer = layer_spectrum(spectrum)
    if layer is None:
        return None
    return effective_rank(layer.standardised, threshold)


def leading_share(spectrum: Spectrum, _threshold: float) -> float | None:
    """The largest eigenvalue over the trace; 1 for outputs that never vary."""
    if spectrum.bounds is not None:
        return None
    if not spectrum.is_finite:
        return NAN
    if math.isnan(spectrum.eigenvalues[0]):  # they are not known
        return None
    total = spectrum.trace if spectrum.trace > 0 else float(spectrum.eigenvalues.sum())
    return min(float(spectrum.eigenvalues[0]) / total, 1.0) if total > 0 else 1.0


def leading_feature(spectrum: Spectrum, _threshold: float) -> float | None:
    """The index of the feature of largest variance; None where none varies."""
    layer = layer_spectrum(spectrum)
    if layer is None or not layer.trace > 0:
        return None
    return float(layer.leading_feature)


def leading_feature_share(spectrum: Spectrum, _threshold: float) -> float | None:
    """The largest variance of a feature over the sum of all; None where none varies."""
    layer = layer_spectrum(spectrum)
    if layer is None or not layer.trace > 0:
        return None
    return min(float(layer.variances[layer.leading_feature]) / layer.trace, 1.0)


def saturation_without_leading_feature(spectrum: Spectrum, threshold: float) -> float | None:
    """Saturation of the other features, where one outweighs them; None where none does."""
    layer = layer_spectrum(spectrum)
    if layer is None or layer.features < _HEAVY_FEATURES or not layer.trace > 0:
        return None
    variances, leading = layer.variances, layer.leading_feature
    if variances[leading] < _HEAVY_SHARE * layer.trace:
        return None
    if variances[leading] < _HEAVY_RATIO * np.median(variances[variances > 0]):
        return None
    rest = layer.without(leading)
    return intrinsic_dimensionality(rest, threshold) / (spectrum.features - 1)


def mean_share(spectrum: Spectrum, _threshold: float) -> float | None:
    """The mean's share of the mean square, m'm / (m'm + trace); 1 for outputs that never vary."""
    mean = getattr(spectrum, "mean", None)
    if mean is None:
        return None
    square = float(mean @ mean)
    if not spectrum.is_finite:
        return NAN
    return square / (square + spectrum.trace) if spectrum.trace > 0 else 1.0


def dead_share(spectrum: Spectrum, _threshold: float) -> float | None:
    """The share of the features that do not vary by more than rounding."""
    layer = layer_spectrum(spectrum)
    if layer is None:
        return None
    if not spectrum.is_finite:
        return NAN
    return 1 - np.count_nonzero(layer.varying) / layer.features


def dormant_share(spectrum: Spectrum, _threshold: float) -> float | None:
    """The share of the features that never exceed 0, so that a ReLU behind lets nothing through."""
    maximum = _company(spectrum).maximum
    if maximum is None:
        return None
    values = maximum.values
    if values is None or not spectrum.is_finite:
        return NAN
    return np.count_nonzero(values.cpu().double().numpy() <= 0) / len(values)


def redo_share(spectrum: Spectrum, _threshold: float) -> float | None:
    """The share of the features whose mean positive part is below 0.025 of the layer's mean.

    Source: Sokar et al., ReDo, arXiv 2302.12902.
    """
    positive = _company(spectrum).positive
    if positive is None:
        return None
    values = positive.values
    if values is None or not spectrum.is_finite:
        return NAN
    return float((values <= _DORMANT * values.mean()).double().mean())


def eval_train_variance(spectrum: Spectrum, _threshold: float) -> float | None:
    """The trace in evaluation over that in training; in rows of both, beside evaluation."""
    training = _company(spectrum).train_trace
    if training is None:
        return None
    if training > 0:
        return spectrum.trace / training
    return math.inf if spectrum.trace > 0 else NAN


def ceiling(spectrum: Spectrum, _threshold: float) -> float | None:
    """The most directions that the weight's shape allows, over the features; None where unknown."""
    highest = _company(spectrum).ceiling
    if highest is None:
        return None
    return min(highest / spectrum.features, 1.0)


def receptive_field_share(spectrum: Spectrum, _threshold: float) -> float | None:
    """The share of the image that the layer's input sees; where the tracker was told its shape."""
    return _company(spectrum).field


def relative_saturation(spectrum: Spectrum, threshold: float) -> float | None:
    """Saturation over the layer's ceiling."""
    highest = ceiling(spectrum, threshold)
    if highest is None:
        return None
    return min(saturation(spectrum, threshold) / highest, 1.0) if spectrum.is_finite else NAN


def extrapolated_saturation(spectrum: Spectrum, threshold: float) -> float | None:
    """Twice the saturation of all samples less the mean of that of two halves, at most 1.

    What saturation lacks for want of samples falls about as their number rises, so that half of
    them lack twice as much. None where only one half has any.
    """
    gap = _gap(spectrum, threshold)
    if gap is None:
        return None
    whole = saturation(spectrum, threshold)
    return max(min(whole + gap, 1.0), 1 / spectrum.features) if not math.isnan(gap) else NAN


def saturation_error(spectrum: Spectrum, threshold: float) -> float | None:
    """How far the saturation of all samples and that of half of them are apart."""
    gap = _gap(spectrum, threshold)
    return None if gap is None else abs(gap)


def within_sequence_share(spectrum: Spectrum, _threshold: float) -> float | None:
    """The variance within sequences over all; None for a layer whose outputs are no series."""
    spread = _company(spectrum).spread
    if spread is None:
        return None
    return spread.share if spread.positions else None


def masked_positions(spectrum: Spectrum, _threshold: float) -> float | None:
    """How many padded positions gave no sample; None where no mask was known."""
    masked = _company(spectrum).masked
    return None if masked is None else float(masked.value)


def _gap(spectrum: Spectrum, threshold: float) -> float | None:
    layer = layer_spectrum(spectrum)
    if layer is None or layer.halves is None:
        return None
    if not spectrum.is_finite:
        return NAN
    halves = [saturation(half, threshold) for half in layer.halves]
    return saturation(spectrum, threshold) - sum(halves) / len(halves)


def _company(spectrum: Spectrum) -> Company:
    """What is known of the layer beside its covariance: nothing of a bare matrix."""
    return getattr(spectrum, "company", None) or Company()
