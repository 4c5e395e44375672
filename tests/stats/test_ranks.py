"""Ranks and exponents, against known spectra, numpy and scipy."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.layer_spectrum import LayerSpectrum
from delve.numerics.spectrum import Spectrum
from delve.stats.ranks import (
    participation_ratio,
    power_law_exponent,
    rank_me,
    singular_rank,
)


def layer_spectrum(x):
    covariance = TorchCovarianceMatrix()
    covariance.update(torch.from_numpy(x))
    return LayerSpectrum(covariance)


def normal(variances, samples, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(samples, len(variances))) * np.sqrt(variances)


def ranks(features):
    return np.arange(1, features + 1.0)


SPECTRA = {
    "power .5": lambda d: ranks(d) ** -0.5,
    "power 1": lambda d: ranks(d) ** -1,
    "power 1.5": lambda d: ranks(d) ** -1.5,
    "exponential": lambda d: np.exp(-ranks(d) / (d / 8)),
    "two levels": lambda d: np.where(ranks(d) <= d // 4, 1.0, 0.05),
    "flat": lambda d: np.ones(d),
}


# --- the exponent of a power law -----------------------------------------------------------------


def fitted(values, first, last):
    """The same fit by scipy: the weights as repetitions of points."""
    x, y = np.log(np.arange(first, last + 1)), np.log(values[first - 1 : last])
    weights = 1 / np.arange(first, last + 1)
    design = np.stack([x, np.ones_like(x)]) * np.sqrt(weights)
    slope, _ = scipy.linalg.lstsq(design.T, y * np.sqrt(weights))[0]
    return -slope


def test_a_known_power_law_is_found():
    spectrum = Spectrum(np.arange(1, 101.0) ** -1.5, samples=1000)
    assert power_law_exponent(spectrum, 0.99) == pytest.approx(1.5)


@pytest.mark.parametrize("alpha", [0.5, 0.75, 1.0, 1.5])
@pytest.mark.parametrize("features", [64, 128, 512])
@pytest.mark.parametrize("times", [2, 4, 20])
def test_the_exponent_is_right_within_a_tenth_from_two_samples_a_feature(alpha, features, times):
    found = [
        power_law_exponent(
            layer_spectrum(normal(ranks(features) ** -alpha, times * features, seed)), 0.99
        )
        for seed in range(2 if features == 512 else 5)
    ]
    assert np.mean(found) == pytest.approx(alpha, abs=0.1)


@pytest.mark.parametrize(
    ("count", "first", "last"),
    [(100, 7, 33), (16, 2, 5), (32, 3, 10), (400, 11, 133), (2000, 11, 500), (3, 2, 3), (5, 2, 5)],
)
def test_the_ranks_that_are_fitted(count, first, last):
    generator = np.random.default_rng(0)
    values = np.sort(generator.uniform(0.1, 1, size=count))[::-1]
    found = power_law_exponent(Spectrum(values, samples=10_000), 0.99)
    assert found == pytest.approx(fitted(values, first, last), rel=1e-9)


@pytest.mark.parametrize("samples", [4, 30])
def test_ranks_beyond_the_samples_are_not_fitted(samples):
    values = np.where(ranks(100) < samples, ranks(100) ** -1.5, 1e-5)
    assert power_law_exponent(Spectrum(values, samples), 0.99) == pytest.approx(1.5)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_too_few_samples_have_no_exponent(samples):
    assert math.isnan(power_law_exponent(Spectrum(ranks(50) ** -1.0, samples), 0.99))


def test_eigenvalues_that_are_rounding_are_not_fitted():
    values = np.array([1.0, 0.25, 1 / 9, 1 / 16, 0.9e-6, 0.8e-6])
    assert power_law_exponent(Spectrum(values, samples=1000), 0.99) == pytest.approx(2)


# --- the participation ratio ---------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("share", [0.5, 1, 3])
def test_the_participation_ratio_is_right_from_half_as_many_samples_as_features(name, share):
    features = 256
    variances = SPECTRA[name](features)
    truth = variances.sum() ** 2 / (variances**2).sum()
    found = [
        participation_ratio(layer_spectrum(normal(variances, int(share * features), seed)), 0.99)
        for seed in range(12)
    ]
    assert np.mean(found) == pytest.approx(truth, rel=0.05)


def test_of_very_many_samples_it_is_the_plain_one():
    x = normal(ranks(20) ** -1, 100_000)
    values = np.linalg.eigvalsh(np.cov(x, rowvar=False))
    plain = values.sum() ** 2 / (values**2).sum()
    assert participation_ratio(layer_spectrum(x), 0.99) == pytest.approx(plain, rel=1e-3)


def test_its_sums_are_unbiased():
    """Over many draws the two sums have the mean that the truth has: an independent check."""
    variances = ranks(6) ** -1
    free, draws = 7, 20_000
    x = np.random.default_rng(1).normal(size=(draws, free + 1, 6)) * np.sqrt(variances)
    x -= x.mean(axis=1, keepdims=True)
    unbiased = np.einsum("sni,snj->sij", x, x) / free
    traces = np.trace(unbiased, axis1=1, axis2=2)
    squares = np.einsum("sij,sij->s", unbiased, unbiased)
    corrected = (squares - traces**2 / free) * free**2 / ((free - 1) * (free + 2))
    assert corrected.mean() == pytest.approx((variances**2).sum(), rel=0.02)
    assert (traces**2 - 2 * corrected / free).mean() == pytest.approx(
        variances.sum() ** 2, rel=0.02
    )


@pytest.mark.parametrize("samples", [1, 2])
def test_two_samples_tell_nothing_of_it(samples):
    x = normal(np.ones(5), samples)
    assert samples == 1 or math.isnan(participation_ratio(layer_spectrum(x), 0.99))


def test_what_never_varies_has_one_dimension():
    assert participation_ratio(layer_spectrum(np.ones((10, 4))), 0.99) == 1


# --- ranks of samples as they are ----------------------------------------------------------------


@pytest.mark.parametrize("samples", [12, 500])
def test_rankme_and_kumars_rank_are_those_of_singular_values(samples):
    x = normal(ranks(30) ** -1.5, samples) + np.linspace(-1, 2, 30)
    singular = scipy.linalg.svdvals(x)
    shares = singular / singular.sum()
    entropy = scipy.stats.entropy(shares)
    assert rank_me(layer_spectrum(x), 0.99) == pytest.approx(np.exp(entropy), rel=1e-6)
    expected = int(np.argmax(np.cumsum(shares) >= 0.99)) + 1
    assert singular_rank(layer_spectrum(x), 0.5) == expected  # whatever saturation's threshold


def test_the_mean_counts_in_them():
    x = normal(np.ones(10), 1000)
    assert rank_me(layer_spectrum(x), 0.99) > 9.9
    assert rank_me(layer_spectrum(x + 100), 0.99) < 2
