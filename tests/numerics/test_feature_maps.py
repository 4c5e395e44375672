"""Feature maps are multiplied as they are where that rounds no more, and else around the mean."""

import threading

import numpy as np
import pytest
import torch

from delve.numerics import feature_maps
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.scratch import scratch

BOUND = 1e-6  # of the largest eigenvalue


def maps_of(mean, batches=3, features=64, positions=40 * 40, seed=0):
    """Batches, (batch x positions x features), that lie in memory feature by feature."""
    generator = torch.Generator().manual_seed(seed)
    shape = (4, features, positions)
    return [
        (torch.randn(shape, generator=generator).cumsum(1) / 4 + mean).transpose(1, 2)
        for _ in range(batches)
    ]


def gathered(batches):
    covariance = TorchCovarianceMatrix()
    for batch in batches:
        covariance.update(batch)
    return covariance


def assert_exact(covariance, batches):
    x = torch.cat(batches).double().reshape(-1, batches[0].shape[2]).numpy()
    expected = np.cov(x.T, bias=True)
    largest = np.linalg.eigvalsh(expected).max()
    assert np.abs(covariance.fix().numpy() - expected).max() <= BOUND * largest
    assert covariance.samples == len(x)


@pytest.fixture
def copied(monkeypatch):
    """How many parts were copied to be centred."""
    parts = []
    take = feature_maps.scratch
    monkeypatch.setattr(
        feature_maps, "scratch", lambda *arguments: parts.append(1) or take(*arguments)
    )
    return parts


@pytest.mark.parametrize(("mean", "is_copied"), [(0.0, False), (0.5, False), (9.0, True)])
def test_maps_are_copied_only_where_their_means_are_large(mean, is_copied, copied):
    batches = maps_of(mean)
    assert all(feature_maps.are_maps(batch) for batch in batches)
    assert_exact(gathered(batches), batches)
    assert bool(copied) == is_copied


@pytest.mark.parametrize("means", [(0.0, 1e3, 0.0), (1e4, 0.0, 0.0), (0.0, 0.0, 1e5)])
def test_maps_whose_means_change_are_exact(means):
    batches = [maps_of(mean, 1, seed=number)[0] for number, mean in enumerate(means)]
    assert_exact(gathered(batches), batches)


def test_one_feature_of_large_mean_and_little_variance_is_no_cause_to_round_the_others():
    batches = maps_of(0.0)
    for batch in batches:
        batch[:, :, 5] = batch[:, :, 5] * 1e-4 + 50
    assert_exact(gathered(batches), batches)


def test_many_images_of_few_positions_are_exact():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(300, 64, 64, generator=generator).cumsum(1) / 4
    batches = list(maps.transpose(1, 2).split(100))
    assert all(feature_maps.are_maps(batch) for batch in batches)
    assert_exact(gathered(batches), batches)


def test_what_is_not_a_number_stays_so():
    batches = maps_of(0.0, 1)
    batches[0][0, 7, 3] = float("nan")
    assert gathered(batches).fix().isnan().any()


@pytest.mark.parametrize("done", [1, 2])
def test_a_saved_state_goes_on_to_the_same_bits(done):
    batches = [*maps_of(9.0, 1), *maps_of(0.0, 3)]
    first, second = gathered(batches[:done]), TorchCovarianceMatrix()
    second.load_state_dict(first.state_dict())
    for batch in batches[done:]:
        first.update(batch)
        second.update(batch)
    assert torch.equal(first.fix(), second.fix())


def test_scratch_is_one_piece_a_thread():
    cpu = torch.device("cpu")
    one = scratch((4, 5), torch.float32, cpu)
    assert scratch((20,), torch.float32, cpu).data_ptr() == one.data_ptr()
    assert scratch((20,), torch.float64, cpu).data_ptr() != one.data_ptr()
    others = []
    thread = threading.Thread(
        target=lambda: others.append(scratch((4, 5), torch.float32, cpu).data_ptr())
    )
    thread.start()
    thread.join()
    assert others != [one.data_ptr()]
