"""One layer a thread: in order, with the threads that there are, and errors as they come."""

import threading

import numpy as np
import pytest
import torch

from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.decomposition import spectrum_of
from delve.numerics.workers import one_a_thread


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield 4
    torch.set_num_threads(before)


def covariances(count, features=150):
    made = {}
    for seed in range(count):
        covariance = TorchCovarianceMatrix()
        covariance.update(torch.randn(400, features, generator=torch.Generator().manual_seed(seed)))
        made["train", str(seed)] = covariance
    return made


def test_spectra_are_those_of_one_thread_in_their_order(threads):
    gathered, used = covariances(7), set()

    def act(key):
        used.add((threading.get_ident(), torch.get_num_threads()))
        return spectrum_of(gathered[key]).eigenvalues

    found = list(one_a_thread(act, gathered))
    for values, covariance in zip(found, gathered.values(), strict=True):
        expected = spectrum_of(covariance).eigenvalues  # whose products four threads made
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6 * expected.max())
    assert {count for _, count in used} == {1}
    assert threading.get_ident() not in {thread for thread, _ in used}
    assert torch.get_num_threads() == threads


def test_small_layers_and_single_ones_stay_in_this_thread(threads):
    for gathered in (covariances(5, features=20), covariances(1)):
        used = list(one_a_thread(lambda _: threading.get_ident(), gathered))
        assert set(used) == {threading.get_ident()}


def test_an_error_in_a_thread_is_the_callers(threads):
    def fail(_covariance):
        raise ArithmeticError("no spectrum")

    with pytest.raises(ArithmeticError, match="no spectrum"):
        list(one_a_thread(fail, covariances(3)))
    assert torch.get_num_threads() == threads
