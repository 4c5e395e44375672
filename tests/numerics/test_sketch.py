"""The bounds of a sketch hold what is true of its samples, computed in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.spectra import THRESHOLDS, Case, exact_dimensionality, leading_sums, sketched

from delve.numerics.accumulator import merged, sketch_of
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.directions import Directions
from delve.numerics.sketch import Sketch

CPU = torch.device("cpu")


def falling(samples, features, power, seed=0):
    generator = torch.Generator().manual_seed(seed)
    deviations = torch.arange(1, features + 1, dtype=torch.float64) ** (-power / 2)
    turned = torch.linalg.qr(
        torch.randn(features, features, generator=generator, dtype=torch.float64)
    )[0]
    rows = torch.randn(samples, features, generator=generator, dtype=torch.float64) * deviations
    return (rows @ turned.T).float()


def sketch_from(*batches, columns=32, directions=None):
    one = Sketch(directions or Directions.random(batches[0].shape[-1], columns, CPU))
    for batch in batches:
        one.update(batch)
    return one


def assert_holds(sketch, samples, thresholds=THRESHOLDS):
    sums, bounds = leading_sums(samples), sketch.bounds()
    shares = sums / sums[-1] if sums[-1] else np.ones_like(sums)
    count = min(len(shares), len(bounds.lower) - 1)
    assert (bounds.lower[1 : count + 1] <= shares[:count] + 1e-9).all()
    assert (bounds.upper[1 : count + 1] >= shares[:count] - 1e-9).all()
    for threshold in thresholds:
        low, high = bounds.intrinsic_dimensionality(threshold)
        assert 1 <= low <= exact_dimensionality(sums, threshold) <= high


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0, max_value=2**31))
def test_the_interval_holds_the_exact_value(seed):
    for samples, sketch in sketched(Case.random(seed)):
        assert_holds(sketch, samples)


@pytest.mark.parametrize("growth", [0.5, 0.9, 0.99, 1.01, 1.1, 2.0])
def test_products_that_are_wrong_widen_the_bounds_and_break_none(growth):
    samples = falling(500, 100, 1.5)
    sketch = sketch_from(samples)
    narrow = sketch_from(samples).bounds().intrinsic_dimensionality(0.9)
    sketch._products.mul_(growth)
    assert_holds(sketch, samples)
    low, high = sketch.bounds().intrinsic_dimensionality(0.9)
    assert high - low >= narrow[1] - narrow[0]


def test_noise_in_the_products_breaks_no_bound():
    samples = falling(500, 100, 1.5)
    for size in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3):
        sketch = sketch_from(samples)
        noise = torch.randn(sketch._products.shape, generator=torch.Generator().manual_seed(1))
        sketch._products.add_(noise, alpha=size * float(sketch._trace))
        assert_holds(sketch, samples)


def test_count_mean_and_trace_are_exact():
    samples = falling(700, 90, 1.0) + 1e3
    sketch = sketch_from(*samples.split(33))
    exact = samples.double()
    assert sketch.samples == 700
    assert torch.allclose(sketch.mean(), exact.mean(dim=0), rtol=1e-13)
    assert sketch.trace() == pytest.approx(float(exact.var(dim=0, correction=0).sum()), rel=1e-12)


def test_the_range_of_one_epoch_narrows_the_next():
    directions, widths = Directions.random(400, 64, CPU), []
    for epoch in range(3):
        samples = falling(3000, 400, 2.0)
        sketch = sketch_from(samples, directions=directions)
        low, high = sketch.bounds().intrinsic_dimensionality(0.99)
        assert_holds(sketch, samples)
        widths.append(high - low)
        directions = sketch.following
        assert directions.generation == epoch + 1
    assert widths[0] > 3 * widths[1]
    assert widths[1] >= widths[2]


@pytest.mark.parametrize("rank", [1, 3, 20])
def test_what_has_fewer_directions_than_the_sketch_is_exact(rank):
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(300, rank, generator=generator, dtype=torch.float64)
    samples = (samples @ torch.randn(rank, 200, generator=generator, dtype=torch.float64)).float()
    sketch = sketch_from(samples)
    exact = exact_dimensionality(leading_sums(samples), 0.99)
    assert sketch.bounds().intrinsic_dimensionality(0.99) == (exact, exact)


def test_few_samples_of_wide_layers_are_exact():
    samples = torch.randn(20, 20_000, generator=torch.Generator().manual_seed(0))
    sketch = sketch_from(samples)
    exact = exact_dimensionality(leading_sums(samples), 0.99)
    assert sketch.bounds().intrinsic_dimensionality(0.99) == (exact, exact)


def test_outputs_that_never_vary_have_one_dimension():
    sketch = sketch_from(*torch.full((100, 50), 0.1).split(7))
    assert sketch.trace() == 0
    assert sketch.bounds().intrinsic_dimensionality(0.99) == (1, 1)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_shows_in_the_trace(number):
    samples = torch.randn(50, 40)
    samples[3, 5] = number
    assert not np.isfinite(sketch_from(samples).trace())


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e12, 1e25])
def test_bounds_hold_where_squares_leave_the_range_of_float32(scale):
    samples = falling(300, 60, 1.5) * scale
    sketch = sketch_from(samples)
    assert_holds(sketch, samples)


def test_batches_of_any_size_and_shape_give_the_same_sums():
    samples = falling(512, 64, 1.5)
    whole = sketch_from(samples)
    for one in (
        sketch_from(*samples.split(1)),
        sketch_from(*samples.split(100)),
        sketch_from(samples.reshape(8, 64, 64)),
        sketch_from(samples[:40], samples[40:]),
    ):
        assert one.samples == 512
        one._empty_block()
        assert torch.allclose(one._products, whole._products, rtol=1e-4, atol=1e-5)
        assert torch.allclose(one._probes, whole._probes, rtol=1e-9, atol=1e-10)


def test_wide_layers_are_gone_through_in_bands(monkeypatch):
    samples = falling(300, 100, 1.5)
    whole = sketch_from(samples)
    for module in (
        "delve.numerics.sketch_parts",
        "delve.numerics.directions",
        "delve.numerics.bounds",
    ):
        monkeypatch.setattr(f"{module}.BAND", 32)
    banded = sketch_from(samples)
    assert torch.allclose(banded._probes, whole._probes, rtol=1e-10)
    assert torch.allclose(banded._products, whole._products, rtol=1e-4, atol=1e-6)
    assert banded.trace() == pytest.approx(whole.trace(), rel=1e-13)
    assert_holds(banded, samples)


def test_sketches_merge_as_if_one_had_seen_all():
    samples = falling(600, 80, 1.5) + torch.linspace(0, 50, 600)[:, None]
    directions = Directions.random(80, 32, CPU)
    whole = sketch_from(samples, directions=directions)
    first = sketch_from(samples[:77], directions=directions)
    first.merge(sketch_from(samples[77:500], directions=directions))
    first.merge(Sketch(directions))
    first.merge(sketch_from(samples[500:], directions=directions))
    assert first.samples == 600
    assert torch.allclose(first._probes, whole._probes, rtol=1e-9)
    assert first.trace() == pytest.approx(whole.trace(), rel=1e-12)
    assert_holds(first, samples)


def test_sketches_with_other_directions_are_not_merged():
    directions = Directions.random(80, 32, CPU)
    one, other = sketch_from(torch.randn(50, 80)), sketch_from(torch.randn(50, 80), columns=16)
    with pytest.raises(ValueError, match="different directions"):
        one.merge(other)
    other = sketch_from(torch.randn(500, 80), directions=directions)
    other.bounds()
    with pytest.raises(ValueError, match="different directions"):
        one.merge(Sketch(other.following))


def test_a_state_goes_on_with_the_same_bits():
    samples = falling(400, 70, 1.5)
    one = sketch_from(*samples[:200].split(13))
    other = Sketch.from_state_dict(
        one.state_dict(), Directions.from_state_dict(one.directions.state_dict())
    )
    for batch in samples[200:].split(13):
        one.update(batch)
        other.update(batch)
    assert torch.equal(one.state_dict()["products"], other.state_dict()["products"])
    assert one.bounds().intrinsic_dimensionality(0.9) == other.bounds().intrinsic_dimensionality(
        0.9
    )


@pytest.mark.parametrize("samples", [40, 90, 1000])
def test_an_exact_covariance_becomes_a_sketch(samples):
    rows = falling(samples, 80, 1.5) + 3
    covariance = TorchCovarianceMatrix()
    for batch in rows.split(37):
        covariance.update(batch)
    sketch = Sketch(Directions.random(80, 32, CPU))
    sketch_of(covariance, sketch)
    assert sketch.samples == samples
    assert sketch.trace() == pytest.approx(float(covariance.fix().trace()), rel=1e-6)
    assert_holds(sketch, rows, (0.5, 0.9, 0.95))
    more = falling(50, 80, 1.5, seed=5) + 3
    sketch.update(more)
    assert_holds(sketch, torch.cat([rows, more]), (0.5, 0.9, 0.95))


def test_a_sketch_and_an_exact_covariance_merge_into_a_sketch():
    rows = falling(300, 60, 1.5)
    covariance = TorchCovarianceMatrix()
    covariance.update(rows[:200])
    for order in (0, 1):
        pair = [covariance, sketch_from(rows[200:])]
        whole = merged(pair[order], pair[1 - order])
        assert isinstance(whole, Sketch)
        assert_holds(whole, rows, (0.5, 0.9, 0.95))


def test_the_number_of_features_stays():
    with pytest.raises(ValueError, match="samples of 5 features cannot follow samples of 40"):
        sketch_from(torch.randn(3, 40)).update(torch.randn(3, 5))


def test_a_cleared_sketch_begins_anew():
    sketch = sketch_from(torch.randn(300, 40) + 9)
    sketch.bounds()
    sketch.clear()
    samples = falling(200, 40, 1.0)
    sketch.update(samples)
    assert sketch.samples == 200
    assert_holds(sketch, samples)
