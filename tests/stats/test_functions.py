"""The functions of a spectrum or a matrix, against numpy and scipy."""

import math
import re

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from delve.errors import ArgumentError
from delve.numerics.spectrum import Spectrum
from delve.stats import functions
from delve.stats.functions import intrinsic_dimensionality, saturation


def spectrum(*eigenvalues):
    return Spectrum(np.array(eigenvalues, dtype=float), samples=100)


@pytest.mark.parametrize(
    ("eigenvalues", "threshold", "expected"),
    [
        ((0.6, 0.39, 0.01), 0.99, 2),  # delve 0.1 said 1, which explains 60 %
        ((0.6, 0.39, 0.01), 0.60, 1),
        ((0.6, 0.39, 0.01), 0.61, 2),
        ((0.6, 0.39, 0.01), 1.0, 3),
        ((1.0, 0.0, 0.0), 0.99, 1),
        ((0.0, 0.0), 0.99, 1),  # outputs that never vary
        ((0.1,) * 100, 0.99, 99),  # reached but for rounding
        ((5.0,), 1.0, 1),
    ],
)
def test_intrinsic_dimensionality_is_the_smallest_k_that_reaches_the_threshold(
    eigenvalues, threshold, expected
):
    assert intrinsic_dimensionality(spectrum(*eigenvalues), threshold) == expected
    assert saturation(spectrum(*eigenvalues), threshold) == expected / len(eigenvalues)


@given(
    st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=30),
    st.floats(min_value=0.01, max_value=1),
)
def test_k_directions_reach_the_threshold_and_k_minus_1_do_not(eigenvalues, threshold):
    values = np.sort(eigenvalues)[::-1]
    k = int(intrinsic_dimensionality(Spectrum(values, 100), threshold))
    total = math.fsum(values)
    assert math.fsum(values[:k]) >= threshold * total * (1 - 1e-9)
    assert k == 1 or math.fsum(values[: k - 1]) < threshold * total


def test_a_spectrum_that_is_not_finite_gives_nan():
    broken = spectrum(math.nan, math.nan)
    assert math.isnan(intrinsic_dimensionality(broken, 0.99))
    assert math.isnan(saturation(broken, 0.99))


# --- the functions that delve 0.1 documents ------------------------------------------------------


@pytest.fixture
def covariance():
    generator = np.random.default_rng(0)
    return np.cov(generator.normal(size=(500, 8)) @ generator.normal(size=(8, 8)), rowvar=False)


@pytest.mark.parametrize("thresh", [0.5, 0.9, 0.99, 1.0])
def test_dimensionality_and_saturation_of_a_matrix(covariance, thresh):
    values = scipy.linalg.eigvalsh(covariance)[::-1]
    k = next(k for k in range(1, 9) if values[:k].sum() >= thresh * values.sum() * (1 - 1e-12))
    matrix = torch.from_numpy(covariance)
    found = functions.compute_intrinsic_dimensionality(matrix, thresh)
    assert isinstance(found, int)
    assert found == k
    assert functions.compute_saturation(matrix, thresh=thresh) == k / 8
    assert functions.compute_intrinsic_dimensionality(matrix.float(), thresh) == k


def test_determinant_and_traces_of_a_matrix(covariance):
    matrix = torch.from_numpy(covariance)
    assert functions.compute_cov_determinant(matrix) == pytest.approx(np.linalg.det(covariance))
    assert functions.compute_cov_trace(matrix) == pytest.approx(np.trace(covariance))
    assert functions.compute_diag_trace(matrix) == pytest.approx(np.trace(covariance))
    indefinite = torch.diag(torch.tensor([2.0, -1.0]))
    assert functions.compute_cov_trace(indefinite) == 1
    assert functions.compute_diag_trace(indefinite) == 2


def test_a_matrix_that_is_not_finite_gives_nan_and_no_error():
    matrix = torch.full((3, 3), math.nan)
    assert math.isnan(functions.compute_intrinsic_dimensionality(matrix))
    assert math.isnan(functions.compute_saturation(matrix))


@pytest.mark.parametrize("thresh", [1.1, 0, -0.5, math.nan, "0.99", None])
@pytest.mark.parametrize(
    "compute", [functions.compute_intrinsic_dimensionality, functions.compute_saturation]
)
def test_a_threshold_that_is_no_share_is_refused(compute, thresh):
    with pytest.raises(ArgumentError, match=r"thresh must be in \(0, 1\]"):
        compute(torch.eye(4), thresh)


@pytest.mark.parametrize("shape", [(4, 3), (4,), (), (2, 3, 3), (0, 0)])
@pytest.mark.parametrize(
    "compute",
    [
        functions.compute_intrinsic_dimensionality,
        functions.compute_saturation,
        functions.compute_cov_determinant,
        functions.compute_cov_trace,
        functions.compute_diag_trace,
    ],
)
def test_what_is_no_square_matrix_is_refused_with_its_shape(compute, shape):
    with pytest.raises(ArgumentError, match=re.escape(f"not the shape {shape};")):
        compute(torch.ones(shape))
