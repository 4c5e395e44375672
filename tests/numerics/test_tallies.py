"""Sums beside the covariance: any batches, any order, merged exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from delve.numerics.tallies import Maximum, PositiveSum, SequenceSpread


def spread_of(*parts):
    spread = SequenceSpread()
    for part in parts:
        spread.update(*part)
    return spread


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 2**16))
def test_maxima_and_positive_sums_are_those_of_all_batches(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    batches = [torch.randn(size, 3, 4, generator=generator) for size in sizes]
    first, second, positive = Maximum(), Maximum(), PositiveSum()
    for number, batch in enumerate(batches):
        (first, second)[number % 2].update(batch)
        positive.update(batch)
    second.merge(first)
    every = torch.cat(batches).reshape(-1, 4)
    assert torch.equal(second.values, every.amax(dim=0))
    expected = every.double().clamp(min=0).sum(dim=0)
    torch.testing.assert_close(positive.values, expected, rtol=1e-5, atol=1e-6)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(0, 2**16))
def test_the_spread_is_that_of_all_sequences(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for size in sizes:
        series = 5 + torch.randn(size, 6, 3, generator=generator, dtype=torch.float64)
        real = torch.rand(size, 6, generator=generator) < 0.7
        parts.append((series, real))
    whole = spread_of(*parts)
    half = spread_of(*parts[::2])
    half.merge(spread_of(*parts[1::2]))
    kept = [
        sequence[mask].numpy()
        for series, real in parts
        for sequence, mask in zip(series, real, strict=True)
        if mask.any()
    ]
    if not kept:
        assert whole.positions == 0
        return
    every = np.concatenate(kept)
    total = ((every - every.mean(axis=0)) ** 2).sum()
    within = sum(((one - one.mean(axis=0)) ** 2).sum() for one in kept)
    for spread in (whole, half):
        assert spread.positions == len(every)
        assert spread.within == pytest.approx(within, rel=1e-9, abs=1e-12)
        assert spread.within + spread.between == pytest.approx(total, rel=1e-9, abs=1e-12)


def test_padding_that_is_not_finite_does_not_count():
    series = torch.tensor([[[1.0], [3.0], [float("nan")]], [[2.0], [float("inf")], [7.0]]])
    real = torch.tensor([[1, 1, 0], [1, 0, 1]])
    spread = spread_of((series, real))
    assert spread.within == pytest.approx(2 + 12.5)
    assert spread.positions == 4


@pytest.mark.parametrize("tally", [Maximum, PositiveSum])
def test_a_state_goes_on(tally):
    torch.manual_seed(0)
    first, second = torch.randn(5, 4), torch.randn(6, 4)
    whole, begun, resumed = tally(), tally(), tally()
    whole.update(first)
    whole.update(second)
    begun.update(first)
    resumed.load_state_dict(begun.state_dict())
    resumed.update(second)
    assert torch.equal(whole.values, resumed.values)


def test_what_saw_nothing_merges_with_nothing():
    for tally in (Maximum(), PositiveSum()):
        tally.merge(type(tally)())
        assert tally.values is None
    spread = SequenceSpread()
    spread.merge(SequenceSpread())
    assert (spread.positions, spread.share) == (0, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_more(dtype):
    positive = PositiveSum()
    x = torch.full((70_000, 2), 1.0, dtype=dtype)
    positive.update(x)
    assert positive.values.tolist() == [70_000, 70_000]  # above the largest of float16
