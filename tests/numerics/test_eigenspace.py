"""Eigenvalues against those of matrices that were made from them."""

import numpy as np
import pytest
import torch

from delve.numerics.eigenspace import eigenspace, eigenvalues, random_directions, rough_eigenvalues
from delve.numerics.spectrum import Spectrum
from delve.stats.functions import intrinsic_dimensionality

RANKS = np.arange(1, 257)
SPECTRA = {
    "falling as 1/rank": 1 / RANKS,
    "falling as 1/rank^2": RANKS**-2.0,
    "exponential": np.exp(-RANKS / 10),
    "uniform": np.linspace(1, 0.1, 256),
    "low rank": np.where(RANKS <= 20, 1.0, 0.0),
    "a spike": np.where(RANKS == 1, 1e6, 1 / RANKS),
    "tiny": 1e-60 / RANKS,
    "huge": 1e60 / RANKS,
}


def matrix_of(eigenvalues, seed=0):
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    generator = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(generator.standard_normal((len(eigenvalues), len(eigenvalues))))
    matrix = (vectors * eigenvalues) @ vectors.T
    return torch.from_numpy((matrix + matrix.T) / 2)


def dimensionality(eigenvalues, threshold):
    explained = np.cumsum(eigenvalues)
    return np.count_nonzero(explained < threshold * explained[-1]) + 1


@pytest.mark.parametrize("name", SPECTRA)
def test_rough_eigenvalues_count_as_exact_ones_do(name):
    taken = 0
    for seed, threshold in enumerate(np.linspace(0.5, 0.9995, 40)):
        rough = rough_eigenvalues(matrix_of(SPECTRA[name], seed), threshold)
        if rough is not None:
            taken += 1
            spectrum = Spectrum(rough.numpy(), samples=1000)
            assert intrinsic_dimensionality(spectrum, threshold) == dimensionality(
                SPECTRA[name], threshold
            )
            np.testing.assert_allclose(
                rough, SPECTRA[name], rtol=0, atol=1e-5 * SPECTRA[name].max()
            )
    assert taken > 30


def test_where_the_threshold_is_met_within_rounding_there_is_doubt():
    flat = matrix_of(np.full(300, 1 / 300))
    assert rough_eigenvalues(flat, 0.5) is None  # 150 of them reach it, or 151
    assert rough_eigenvalues(flat, 0.5 + 1 / 600) is not None
    assert rough_eigenvalues(flat, 1.0) is None


# Around .99, by less than float32 tells of so many directions without variance.
NEAR = [-4e-7, -1e-7, 1e-7, 3e-7, 5e-7, 3e-6, 1e-4]


@pytest.mark.parametrize("features", [300, 1024, 1100])
@pytest.mark.parametrize("beyond", NEAR)
@pytest.mark.parametrize("rank", [1, 2, 30])
def test_directions_without_variance_add_nothing_to_what_is_explained(features, beyond, rank):
    """Their rounding, clamped, once made all other shares smaller than they are."""
    spectrum = np.zeros(features)
    spectrum[:rank] = (0.99 + beyond) / rank
    spectrum[rank] = 0.01 - beyond
    rough = rough_eigenvalues(matrix_of(spectrum), 0.99)
    if rough is not None:
        assert float(rough.sum()) == pytest.approx(1, abs=1e-5)
        found = intrinsic_dimensionality(Spectrum(rough.numpy(), samples=1000), 0.99)
        assert found == (rank if beyond > 0 else rank + 1)
    assert rough is not None or abs(beyond) < 1e-4


@pytest.mark.parametrize("features", [1024, 2048])
def test_the_doubt_covers_what_float32_is_off_by(features):
    """In the flattest of spectra, where the solver is off most, near any share of the whole."""
    matrix = matrix_of(np.full(features, 1 / features))
    for count in (1, features // 3, features - 2):
        for beyond in (-3e-6, 3e-6):
            threshold = count / features + beyond
            rough = rough_eigenvalues(matrix, threshold)
            if rough is not None:
                found = intrinsic_dimensionality(Spectrum(rough.numpy(), samples=1), threshold)
                assert found == count + (beyond > 0)


def test_more_than_is_there_is_never_counted_roughly():
    assert rough_eigenvalues(torch.eye(300, dtype=torch.float64), 1 - 1e-9) is None


def test_small_matrices_and_those_without_variance_are_left_to_the_exact_solver():
    assert rough_eigenvalues(torch.eye(10, dtype=torch.float64), 0.99) is None
    assert rough_eigenvalues(torch.zeros(300, 300, dtype=torch.float64), 0.99) is None


def test_eigenvalues_are_numpys_falling_and_none_below_0():
    matrix = matrix_of(np.array([3.0, 1.0, 0.5, -1e-18, 0.0]))
    expected = np.linalg.eigvalsh(matrix.numpy())[::-1].clip(0)
    np.testing.assert_allclose(eigenvalues(matrix), expected, atol=1e-15)
    assert (eigenvalues(matrix) >= 0).all()


def test_eigenvectors_stand_in_columns_and_their_greatest_component_is_positive():
    matrix = matrix_of(np.array([3.0, 2.0, 1.0, 0.5]))
    values, vectors = eigenspace(matrix)
    np.testing.assert_allclose(values, [3.0, 2.0, 1.0, 0.5])
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-12)
    greatest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    assert (greatest > 0).all()
    assert torch.equal(eigenspace(matrix)[1], vectors)


def test_random_directions_are_orthonormal_and_point_anywhere():
    np.random.seed(0)
    drawn = [random_directions(6, 2) for _ in range(400)]
    for columns in drawn[:5]:
        np.testing.assert_allclose(columns.T @ columns, np.eye(2), atol=1e-12)
    # Of a uniform direction every component has mean 0 and variance 1 / dimension.
    components = np.array([columns[:, 0] for columns in drawn])
    assert np.abs(components.mean(axis=0)).max() < 0.1
    np.testing.assert_allclose(components.var(axis=0), 1 / 6, atol=0.05)
