"""What a layer's spectrum tells with and without a decomposition, against numpy."""

import numpy as np
import pytest
import torch

from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.layer_spectrum import Company, LayerSpectrum
from delve.numerics.spectrum import Spectrum


def covariance_of(*batches):
    covariance = TorchCovarianceMatrix()
    for batch in batches:
        covariance.update(batch)
    return covariance


@pytest.fixture(params=[(6, 20), (20, 20), (500, 20), (300, 200)], ids=str)
def x(request):
    torch.manual_seed(0)
    samples, features = request.param
    return torch.randn(samples, features, dtype=torch.float64) * torch.arange(1, features + 1) + 3


def test_it_is_the_spectrum_that_is_computed_at_once(x):
    covariance = covariance_of(x)
    lazy, eager = LayerSpectrum(covariance, vectors=True), Spectrum.of(covariance, vectors=True)
    rounding = 1e-13 * eager.trace
    np.testing.assert_allclose(lazy.eigenvalues, eager.eigenvalues, rtol=0, atol=rounding)
    np.testing.assert_allclose(lazy.leading_vectors, eager.leading_vectors, atol=1e-10)
    assert lazy.trace == pytest.approx(eager.trace, rel=1e-12)
    assert (lazy.samples, lazy.features) == (eager.samples, eager.features)
    assert lazy.is_finite
    np.testing.assert_allclose(lazy.shares, eager.shares, atol=1e-13)


def test_moments_are_numpys(x):
    spectrum, y = LayerSpectrum(covariance_of(x)), x.numpy()
    np.testing.assert_allclose(spectrum.mean, y.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(spectrum.variances, y.var(axis=0), rtol=1e-9)
    matrix = np.cov(y, rowvar=False, bias=True)
    assert spectrum.trace == pytest.approx(np.trace(matrix))
    assert spectrum.squares == pytest.approx((matrix**2).sum())


def test_other_matrices_are_numpys(x):
    spectrum, y = LayerSpectrum(covariance_of(x)), x.numpy()
    scale = np.linalg.eigvalsh(np.corrcoef(y, rowvar=False))[::-1]
    np.testing.assert_allclose(spectrum.standardised.eigenvalues, scale.clip(0), atol=1e-9)
    raw = np.linalg.eigvalsh(y.T @ y / len(y))[::-1]
    tolerance = 1e-12 * raw[0]
    np.testing.assert_allclose(spectrum.uncentred.eigenvalues, raw.clip(0), atol=tolerance)
    rest = np.delete(y, 4, axis=1)
    values = np.linalg.eigvalsh(np.cov(rest, rowvar=False, bias=True))[::-1].clip(0)
    found = spectrum.without(4).eigenvalues
    np.testing.assert_allclose(found[:-1], values, atol=tolerance)
    assert found[-1] == pytest.approx(0, abs=tolerance)


def test_the_other_half_is_what_the_whole_has_beyond_the_first(x):
    batches = x.tensor_split(4)
    half = covariance_of(*batches[::2])
    spectrum = LayerSpectrum(covariance_of(*batches), company=Company(half=half))
    for found, some in zip(spectrum.halves, (batches[::2], batches[1::2]), strict=True):
        y = torch.cat(some).numpy()
        values = np.linalg.eigvalsh(np.cov(y, rowvar=False, bias=True))[::-1].clip(0)
        np.testing.assert_allclose(found.eigenvalues, values, atol=1e-11 * values[0])
        assert found.samples == len(y)


def test_halves_are_exact_far_from_zero():
    x = torch.randn(600, 8, dtype=torch.float64) + 1e6
    batches = x.tensor_split(6)
    half = covariance_of(*batches[::2])
    spectrum = LayerSpectrum(covariance_of(*batches), company=Company(half=half))
    y = torch.cat(batches[1::2]).numpy()
    values = np.linalg.eigvalsh(np.cov(y, rowvar=False, bias=True))[::-1]
    np.testing.assert_allclose(spectrum.halves[1].eigenvalues, values, rtol=1e-6)


def test_what_is_not_finite_is_nan():
    x = torch.randn(50, 4)
    x[7, 2] = float("inf")
    spectrum = LayerSpectrum(covariance_of(x))
    assert not spectrum.is_finite
    for number in (spectrum.trace, spectrum.squares):
        assert np.isnan(number)
    for part in (spectrum, spectrum.standardised, spectrum.uncentred):
        assert np.isnan(part.eigenvalues).all()
