import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.decomposition import spectrum_of
from delve.numerics.intake import BLOCK_ELEMENTS, BLOCK_SAMPLES, EMBEDDED_SAMPLES

BOUND = 1e-6  # of the largest eigenvalue
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def reference(samples):
    """Mean and population covariance in float64, of all samples at once."""
    x = samples.double().numpy()
    mean = x.mean(axis=0)
    return mean, (x - mean).T @ (x - mean) / len(x)


def assert_close(covariance, samples, bound=BOUND):
    mean, expected = reference(samples)
    got = covariance.fix().numpy()
    largest = np.linalg.eigvalsh(expected).max()
    assert covariance.samples == len(samples)
    assert got.dtype == np.float64
    assert np.abs(np.linalg.eigvalsh(got) - np.linalg.eigvalsh(expected)).max() <= bound * largest
    assert np.abs(got - expected).max() <= bound * largest
    raw = covariance.fix(center=False).numpy()
    moment = expected + np.outer(mean, mean)
    assert np.abs(raw - moment).max() <= bound * np.linalg.eigvalsh(moment).max()


def stream(batches):
    covariance = TorchCovarianceMatrix()
    for batch in batches:
        covariance.update(batch)
    return covariance


def mixed(samples, features, seed, spread=3.0):
    """Correlated samples whose features have scales from 1 to 10 ** -spread."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, features, generator=generator, dtype=torch.float64)
    scales = torch.logspace(0, -spread, features, dtype=torch.float64)
    mixing, _ = torch.linalg.qr(
        torch.randn(features, features, generator=generator, dtype=torch.float64)
    )
    return (x * scales) @ mixing


@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=12).filter(lambda s: sum(s) > 1),
    features=st.integers(1, 40),
    offset=st.sampled_from([0.0, 1.0, -30.0, 1e3, 1e6]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
def test_any_split_into_batches_gives_the_exact_covariance(sizes, features, offset, dtype, seed):
    samples = (mixed(sum(sizes), features, seed) + offset).to(dtype)
    if not torch.isfinite(samples).all() or (samples == samples[0]).all():
        return  # float16 ends at 65504, and half precision rounds 1e6 + x to one value
    assert_close(stream(samples.split(sizes)), samples)


@given(
    offsets=st.lists(st.floats(-100, 100), min_size=2, max_size=8),
    rows=st.integers(50, 300),
    seed=st.integers(0, 2**16),
)
def test_batches_that_drift_are_exact(offsets, rows, seed):
    batches = [(mixed(rows, 12, seed + i) + offset).float() for i, offset in enumerate(offsets)]
    assert_close(stream(batches), torch.cat(batches))


@given(
    sizes=st.lists(st.integers(0, 200), min_size=2, max_size=6),
    features=st.integers(1, 30),
    offset=st.sampled_from([0.0, 1e3, 1e6]),
    seed=st.integers(0, 2**16),
)
def test_merging_any_parts_gives_the_covariance_of_the_whole(sizes, features, offset, seed):
    parts = [
        (mixed(size, features, seed + i) + offset * (1 + i / 1e6)).float()
        for i, size in enumerate(sizes)
    ]
    whole = TorchCovarianceMatrix()
    for part in parts:
        if len(part):
            whole.merge_moments(stream(part.split(50)).moments())
    if whole.samples > 1:
        assert_close(whole, torch.cat(parts))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", [3, 70, 600])
def test_many_blocks_are_exact(features, dtype):
    rows = 3 * max(features, min(BLOCK_ELEMENTS // features, BLOCK_SAMPLES)) + 17
    samples = (mixed(rows, features, seed=1, spread=2) + 2).to(dtype)
    assert_close(stream(samples.split(rows // 5)), samples)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("space", [(2, 3), (40, 40), (1, 1)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_feature_maps_of_any_layout_are_exact(space, layout, dtype, offset):
    maps = (torch.randn(9, 20, *space, dtype=torch.float64).cumsum(1) + offset).to(dtype)
    if layout == "channels_last":
        maps = maps.to(memory_format=torch.channels_last)
    elif layout == "sliced":
        maps = maps.repeat(1, 2, 1, 1)[:, ::2]
    rows = maps.flatten(2).transpose(1, 2)
    assert_close(stream(rows.split(4)), rows.reshape(-1, 20))


@given(
    batches=st.lists(
        st.tuples(st.sampled_from([2, 5, 17]), st.booleans(), st.integers(1, 4)),
        min_size=2,
        max_size=8,
    ),
    seed=st.integers(0, 2**16),
)
def test_maps_of_changing_sizes_and_layouts_are_exact(batches, seed):
    generator = torch.Generator().manual_seed(seed)
    stack = []
    for i, (size, is_channels_last, count) in enumerate(batches):
        maps = torch.randn(count, 20, size, size, generator=generator).cumsum(1) + i
        if is_channels_last:
            maps = maps.to(memory_format=torch.channels_last)
        stack.append(maps.flatten(2).transpose(1, 2))
    assert_close(stream(stack), torch.cat([rows.reshape(-1, 20) for rows in stack]))


def test_a_strided_batch_is_exact():
    samples = torch.randn(400, 30)[::2, ::3]
    assert_close(stream([samples]), samples)


def test_samples_of_the_autoencoder_calls_are_columns():
    samples = torch.randn(50, 4)
    covariance = TorchCovarianceMatrix()
    covariance.update(samples.T, True)
    assert_close(covariance, samples)


@pytest.mark.parametrize("rows", [1, 5, 99])
def test_fewer_samples_than_features_never_build_the_matrix(rows):
    samples = torch.randn(rows, 100) + 5
    covariance = stream([samples])
    few = covariance.rows_below_features().numpy()
    assert few.shape == (rows, 100)
    gram = np.zeros(100)
    gram[:rows] = np.sort(np.linalg.eigvalsh(few @ few.T / rows))[::-1]
    expected = np.sort(np.linalg.eigvalsh(reference(samples)[1]))[::-1]
    assert np.abs(gram - expected).max() <= BOUND * max(expected.max(), 1)
    assert covariance._moments is None


def test_enough_samples_have_no_few():
    assert stream([torch.randn(100, 100)]).rows_below_features() is None


def test_inference_mode_and_training_can_alternate():
    samples = torch.randn(300, 5)
    covariance = TorchCovarianceMatrix()
    with torch.inference_mode():
        covariance.update(samples[:100] * 1)
    covariance.update(samples[100:200].clone().requires_grad_())
    with torch.inference_mode():
        covariance.update(samples[200:] * 1)
    assert_close(covariance, samples)
    assert not covariance.fix().requires_grad


def test_reading_the_covariance_changes_nothing():
    batches = torch.randn(3000, 200).split(300)
    read, unread = TorchCovarianceMatrix(), TorchCovarianceMatrix()
    for batch in batches:
        read.update(batch)
        read.fix()
        read.rows_below_features()
        unread.update(batch)
    assert torch.equal(read.fix(), unread.fix())


@pytest.mark.parametrize("done", [0, 1, 7, 12])
def test_a_saved_state_goes_on_to_the_same_bits(done):
    batches = torch.randn(6000, 100).split(400)
    whole, first, second = (TorchCovarianceMatrix(save_data=True) for _ in range(3))
    for batch in batches:
        whole.update(batch)
    for batch in batches[:done]:
        first.update(batch)
    second.load_state_dict(first.state_dict())
    for batch in batches[done:]:
        second.update(batch)
    assert torch.equal(second.fix(), whole.fix())
    assert torch.equal(second.saved_samples, whole.saved_samples)
    assert second.samples == whole.samples


def test_a_state_holds_half_of_the_matrix_and_earlier_ones_the_whole():
    covariance, other, rows = (
        TorchCovarianceMatrix(),
        TorchCovarianceMatrix(),
        torch.randn(3000, 70),
    )
    for batch in rows.split(300):
        covariance.update(batch)
    covariance.settled()
    state = covariance.state_dict()
    assert state["scatter"].shape == (70 * 71 // 2,)
    whole = torch.tensor(np.cov(rows.double().numpy().T, bias=True) * len(rows))
    other.load_state_dict(state | {"scatter": whole})
    assert torch.allclose(other.fix(), covariance.fix(), atol=1e-6)
    other.load_state_dict(state)
    assert torch.equal(other.fix(), covariance.fix())


def test_a_saved_state_is_a_copy():
    covariance = stream([torch.randn(50, 3)])
    state = covariance.state_dict()
    before = covariance.fix()
    other = TorchCovarianceMatrix()
    other.load_state_dict(state)
    other.update(torch.randn(10**6, 3))
    assert torch.equal(covariance.fix(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_state_stays_as_it_was_when_more_is_seen(dtype):
    batches = torch.randn(9000, 40, dtype=dtype).split(1500)
    covariance, other = (TorchCovarianceMatrix(save_data=True) for _ in range(2))
    for batch in batches[:4]:
        covariance.update(batch)
    state = covariance.state_dict()
    before = {
        key: value.clone() if isinstance(value, torch.Tensor) else value
        for key, value in state.items()
    }
    for batch in batches[4:]:
        covariance.update(batch + 3)
    covariance.saved_samples.zero_()
    for key, value in before.items():
        assert torch.equal(torch.as_tensor(state[key]), torch.as_tensor(value)), key
    other.load_state_dict(state)
    assert_close(other, torch.cat(batches[:4]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("features", [2, 70])
def test_what_is_merged_moves_nothing_under_samples_that_wait(dtype, features):
    maps = torch.randn(2, features, 3 * features, dtype=dtype)
    waiting, others = torch.randn(70, features, dtype=dtype), torch.randn(5, features, dtype=dtype)
    covariance = stream([maps.transpose(1, 2), waiting])
    covariance.merge_moments(stream([others + 4]).moments())
    seen = maps.transpose(1, 2).reshape(-1, features)
    assert_close(covariance, torch.cat([seen, waiting, others + 4]))


@pytest.mark.parametrize("scale", [1e30, 1e20, 3e18, 1e-15, 1e-18, 1e-20, 1e-23, 1e-30])
@pytest.mark.parametrize("features", [32, 64, 200])
@pytest.mark.parametrize("layout", ["rows", "maps"])
def test_numbers_whose_squares_leave_the_range_of_float32_are_exact(scale, features, layout):
    samples = mixed(6000, features, seed=1, spread=2.0).mul(scale).float()
    if layout == "rows":
        covariance = stream(samples.split(1000))
    else:
        maps = [part.T.contiguous().T[None] for part in samples.split(1000)]
        covariance = stream(maps)
    assert_close(covariance, samples)


def test_one_feature_whose_squares_overflow_is_enough():
    samples = torch.randn(3000, 130)
    samples[:, 129] *= 1e25
    assert_close(stream(samples.split(500)), samples)


def test_the_first_samples_are_kept_where_asked():
    batches = torch.randn(1500, 4).split(400)
    covariance = TorchCovarianceMatrix(save_data=True)
    for batch in batches:
        covariance.update(batch)
    assert torch.equal(covariance.saved_samples, torch.cat(batches)[:EMBEDDED_SAMPLES])
    assert stream(batches).saved_samples is None


def test_no_samples_have_no_covariance():
    covariance = stream([torch.empty(0, 3)])
    with pytest.raises(ValueError, match="no sample was seen"):
        covariance.fix()


def test_another_number_of_features_is_an_error():
    covariance = stream([torch.randn(5, 3)])
    with pytest.raises(ValueError, match="4 features cannot follow samples of 3"):
        covariance.update(torch.randn(5, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("allow_tf32", [False, True])
def test_a_gpu_is_exact_also_where_tf32_is_allowed(allow_tf32):
    torch.set_float32_matmul_precision("high" if allow_tf32 else "highest")
    try:
        samples = mixed(20000, 300, seed=0).float() + 100
        covariance = stream(samples.cuda().split(3000))
        assert covariance.fix().is_cuda
        got = covariance.fix().cpu().numpy()
    finally:
        torch.set_float32_matmul_precision("highest")
    expected = reference(samples)[1]
    assert np.abs(got - expected).max() <= BOUND * np.linalg.eigvalsh(expected).max()


def test_a_state_goes_on_where_the_next_samples_are():
    first = stream([torch.randn(300, 70)])
    state = first.state_dict()
    second = TorchCovarianceMatrix()
    second.load_state_dict({k: v.to("meta") if torch.is_tensor(v) else v for k, v in state.items()})
    assert second.device is None  # what a checkpoint was loaded to does not bind it
    second.load_state_dict(state)
    more = torch.randn(40, 70)
    first.update(more)
    second.update(more)
    assert second.device == more.device
    assert torch.equal(first.fix(), second.fix())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_samples_of_a_gpu_are_whole_when_they_are_gathered_on_the_cpu():
    covariance = TorchCovarianceMatrix(device="cpu")
    batches = [torch.randn(5000, 200, device="cuda") for _ in range(5)]
    for batch in batches:
        covariance.update(batch)
    assert_close(covariance, torch.cat(batches).cpu())


@pytest.mark.parametrize("samples", [(40,), (40, 9), (9,)])
def test_a_state_that_got_no_sample_since_has_its_spectrum(samples):
    first, second = TorchCovarianceMatrix(), TorchCovarianceMatrix()
    torch.manual_seed(0)
    batches = [torch.randn(count, 12) for count in samples]
    for batch in batches:
        first.update(batch)
    second.load_state_dict(first.state_dict())
    found = spectrum_of(second, in_place=True).eigenvalues
    matrix = np.cov(torch.cat(batches).double().numpy().T, bias=True)
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrix)[::-1].clip(0), atol=1e-6)
