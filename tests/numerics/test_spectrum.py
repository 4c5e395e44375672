"""The spectrum of samples and of matrices, against numpy in float64."""

import math
import re

import numpy as np
import pytest
import torch

from delve.errors import ArgumentError
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.spectrum import Spectrum, square
from delve.stats.functions import intrinsic_dimensionality


def spectrum_of(samples, **options):
    covariance = TorchCovarianceMatrix()
    for batch in samples.split(100):
        covariance.update(batch)
    return Spectrum.of(covariance, **options)


def correlated(rows, features, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, generator=generator) * torch.logspace(0, -2, features)
    return x @ torch.randn(features, features, generator=generator) + 3


def decomposed(samples):
    """Eigenvalues and eigenvectors of the population covariance, falling."""
    x = samples.double().numpy()
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True).reshape(x.shape[1], x.shape[1]))
    return values[::-1].clip(0), vectors[:, ::-1]


@pytest.mark.parametrize(("rows", "features"), [(500, 8), (500, 80), (1, 5), (7, 60), (60, 60)])
def test_eigenvalues_are_numpys_also_of_fewer_samples_than_features(rows, features):
    samples = correlated(rows, features)
    spectrum = spectrum_of(samples)
    expected, _ = decomposed(samples)
    np.testing.assert_allclose(
        spectrum.eigenvalues, expected, rtol=0, atol=1e-6 * expected[0] + 1e-12
    )
    assert (spectrum.samples, spectrum.features) == (rows, features)
    assert (np.diff(spectrum.eigenvalues) <= 0).all()
    assert (spectrum.eigenvalues >= 0).all()
    assert spectrum.trace == pytest.approx(expected.sum(), rel=1e-6, abs=1e-12)
    assert spectrum.leading_vectors is None


@pytest.mark.parametrize(("rows", "features"), [(500, 8), (7, 60), (3, 4)])
def test_leading_vectors_are_numpys_with_the_greatest_component_positive(rows, features):
    samples = correlated(rows, features)
    found = spectrum_of(samples, vectors=True).leading_vectors
    _, vectors = decomposed(samples)
    assert found.shape == (features, 2)
    np.testing.assert_allclose(np.abs(found), np.abs(vectors[:, :2]), atol=1e-4)
    np.testing.assert_allclose(found.T @ found, np.eye(2), atol=1e-6)
    assert (found[np.abs(found).argmax(axis=0), [0, 1]] > 0).all()


def test_one_feature_has_one_leading_vector():
    assert spectrum_of(correlated(50, 1), vectors=True).leading_vectors.tolist() == [[1.0]]


def test_a_direction_without_variance_has_no_vector():
    samples = torch.outer(torch.arange(4.0), torch.arange(1.0, 7))  # of rank 1
    found = spectrum_of(samples, vectors=True).leading_vectors
    assert np.linalg.norm(found, axis=0) == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("rows", [3, 200])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite_have_nan_and_their_count(rows, value):
    samples = torch.randn(rows, 5)
    samples[1, 2] = value
    spectrum = spectrum_of(samples, vectors=True)
    assert not spectrum.is_finite
    assert np.isnan(spectrum.eigenvalues).all()
    assert (spectrum.samples, spectrum.features) == (rows, 5)
    assert math.isnan(spectrum.trace)
    assert np.isnan(spectrum.leading_vectors).all()
    assert spectrum.leading_vectors.shape == (5, 2)


def test_shares_add_up_to_1_and_are_all_on_the_first_where_nothing_varies():
    spectrum = spectrum_of(correlated(500, 8))
    assert spectrum.shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(
        spectrum.shares, spectrum.eigenvalues / spectrum.eigenvalues.sum(), rtol=1e-12
    )
    assert spectrum_of(torch.ones(50, 3)).shares.tolist() == [1.0, 0.0, 0.0]


def test_a_spectrum_for_counting_gives_the_exact_dimensionality():
    torch.manual_seed(0)
    for threshold in (0.9, 0.99):
        covariance = TorchCovarianceMatrix()
        covariance.update(
            torch.randn(2000, 300) * torch.logspace(0, -2, 300) @ torch.randn(300, 300)
        )
        exact = Spectrum.of(covariance)
        rough = Spectrum.of(covariance, threshold=threshold)
        assert not np.array_equal(rough.eigenvalues, exact.eigenvalues)
        assert rough.trace == exact.trace
        assert intrinsic_dimensionality(rough, threshold) == intrinsic_dimensionality(
            exact, threshold
        )


# --- a matrix ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_spectrum_of_a_matrix_is_that_of_the_samples_it_is_of(dtype):
    samples = correlated(500, 8)
    matrix = np.cov(samples.double().numpy().T, bias=True)
    spectrum = Spectrum.of_matrix(torch.from_numpy(matrix).to(dtype))
    expected, _ = decomposed(samples)
    np.testing.assert_allclose(spectrum.eigenvalues, expected, rtol=0, atol=1e-6 * expected[0])
    assert spectrum.trace == pytest.approx(np.trace(matrix))
    assert spectrum.samples == 0  # of how many it is, it does not tell


def test_the_trace_keeps_what_the_eigenvalues_lose_below_0():
    spectrum = Spectrum.of_matrix(torch.diag(torch.tensor([2.0, -1.0])))
    assert spectrum.trace == 1
    assert spectrum.eigenvalues.tolist() == [2.0, 0.0]


@pytest.mark.parametrize("shape", [(4, 3), (4,), (), (2, 3, 3), (0, 0)])
def test_what_is_no_square_matrix_is_refused_with_its_shape(shape):
    with pytest.raises(ArgumentError, match=re.escape(f"not the shape {shape};")):
        square(torch.ones(shape))


def test_a_matrix_may_be_one_that_is_trained():
    matrix = torch.eye(3, requires_grad=True)
    assert square(matrix).dtype is torch.float64
    assert not square(matrix).requires_grad
