"""What samples add up to, and the products that it is made from, against numpy in float64."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from delve.numerics import moments
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.feature_maps import parts_of
from delve.numerics.moments import Moments, products

BOUND = 1e-6  # of the largest product or eigenvalue
CPU = torch.device("cpu")


def maps_of(features, dtype=torch.float32, batch=3, positions=500, seed=0):
    """Maps, (batch x features x positions), whose features are correlated and of falling scale."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, features, positions, generator=generator, dtype=torch.float64)
    mixing = torch.randn(features, features, generator=generator, dtype=torch.float64)
    scales = torch.logspace(0, -2, features, dtype=torch.float64)[:, None]
    return (mixing @ (x * scales) / features**0.5).to(dtype)


def expected_products(maps):
    x = maps.double().numpy()
    return np.einsum("bfp,bgp->fg", x, x)


def assembled(blocks, features):
    """The lower triangle of blocks; what no block covers is NaN."""
    whole = np.full((features, features), np.nan)
    for begin, end, product in blocks:
        assert product.shape == (end - begin, end)
        whole[begin:end, :end] = product.double().cpu().numpy()
    return np.tril(whole)


def assert_exact(blocks, maps):
    expected = expected_products(maps)
    found = assembled(blocks, maps.shape[1])
    assert np.abs(found - np.tril(expected)).max() <= BOUND * np.abs(expected).max()


def moments_of(rows):
    """The moments of (samples x features), by one product."""
    rest = rows.mean(dim=0)
    found = Moments.none(rows.shape[1], CPU)
    centred = rows - rest
    found.add(len(rows), rest, torch.zeros_like(rest), products(centred.T[None]))
    return found


def assert_numpys(found, rows):
    x = rows.double().numpy()
    expected = np.cov(x.T, bias=True).reshape(x.shape[1], x.shape[1])
    assert found.samples == len(x)
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-9, atol=1e-9 * np.abs(x).max())
    bound = BOUND * np.abs(expected).max() + 1e-12
    np.testing.assert_allclose(found.covariance(), expected, rtol=0, atol=bound)


# --- moments -------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    features=st.integers(1, 12),
    offset=st.sampled_from([0.0, 5.0, -1e4]),
    seed=st.integers(0, 2**16),
)
def test_merged_sets_of_samples_have_the_moments_of_all(sizes, features, offset, seed):
    generator = torch.Generator().manual_seed(seed)
    parts = [
        torch.randn(size, features, generator=generator, dtype=torch.float64) + offset * place
        for place, size in enumerate(sizes)
    ]
    whole = Moments.none(features, CPU)
    for part in parts:
        whole.merge(moments_of(part))
    assert_numpys(whole, torch.cat(parts))


def test_samples_count_around_the_mean_of_all_whatever_was_taken_off_them_first():
    rows = torch.randn(400, 5, dtype=torch.float64) * torch.arange(1.0, 6) + 7
    found = Moments.none(5, CPU)
    for part, centre in zip(rows.split([300, 100]), (6.5, 20.0), strict=True):
        shifted = part - centre
        found.add(
            len(part),
            torch.full((5,), centre, dtype=torch.float64),
            shifted.mean(dim=0),
            products(shifted.T[None]),
        )
    assert_numpys(found, rows)


def test_products_may_come_in_parts_before_they_are_centred():
    rows = torch.randn(90, 4, dtype=torch.float64) + 2
    found = Moments.none(4, CPU)
    for part in rows.split(30):
        found.add_products(products(part.T[None]))
    found.centre_products(90, torch.zeros(4), rows.mean(dim=0))
    assert_numpys(found, rows)


def test_the_covariance_is_symmetric_and_read_from_the_lower_triangle():
    found = moments_of(torch.randn(50, 3, dtype=torch.float64))
    expected = found.covariance()
    assert torch.equal(expected, expected.T)
    found.scatter += torch.full((3, 3), math.nan).triu(1).nan_to_num(nan=1e9)
    assert torch.equal(found.covariance(), expected)


def test_a_copy_is_independent():
    found = moments_of(torch.randn(50, 3, dtype=torch.float64))
    copy = found.copy()
    before = copy.mean.clone(), copy.scatter.clone()
    found.merge(moments_of(torch.randn(5, 3, dtype=torch.float64) + 9))
    assert copy.samples == 50
    assert torch.equal(copy.mean, before[0])
    assert torch.equal(copy.scatter, before[1])


# --- parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [6, 25, 60, 120, 1000])
def test_maps_are_split_into_parts_that_fit(most):
    maps = torch.arange(4 * 3 * 10).reshape(4, 3, 10)
    parts = list(parts_of(maps, most))
    assert all(part.numel() <= most for part in parts)
    rows = torch.cat([part.transpose(1, 2).reshape(-1, 3) for part in parts])
    expected = maps.transpose(1, 2).reshape(-1, 3)
    assert sorted(rows.tolist()) == sorted(expected.tolist())


# --- products ------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [1, 63, 64, 127, 128, 130, 301])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 3])
def test_blocks_cover_the_lower_triangle(features, dtype, batch):
    maps = maps_of(features, dtype, batch)
    blocks = products(maps)
    ends = [0, *(end for _, end, _ in blocks)]
    assert [begin for begin, _, _ in blocks] == ends[:-1]
    assert ends[-1] == features
    assert_exact(blocks, maps)


@pytest.mark.parametrize("features", [64, 80, 200])
@pytest.mark.parametrize("lowered", [torch.bfloat16, torch.float16])
def test_products_are_exact_under_autocast(features, lowered):
    """From 64 features on they are made in float32, which autocast would demote."""
    maps = maps_of(features)
    with torch.autocast("cpu", lowered):
        demoted = maps @ maps.transpose(1, 2)
        blocks = products(maps)
        assert torch.is_autocast_enabled("cpu")
        assert (maps @ maps.transpose(1, 2)).dtype == lowered  # the user's own are still lowered
    assert demoted.dtype == lowered
    error = np.abs(demoted.double().sum(dim=0).numpy() - expected_products(maps)).max()
    assert error > 100 * BOUND * np.abs(expected_products(maps)).max()
    assert_exact(blocks, maps)


def test_a_covariance_under_autocast_has_the_same_bits():
    samples = torch.randn(5000, 80) + 3
    exact = TorchCovarianceMatrix()
    exact.update(samples)
    cast = TorchCovarianceMatrix()
    with torch.autocast("cpu", torch.bfloat16):
        cast.update(samples)
        assert torch.equal(cast.fix(), exact.fix())


SETTINGS = [
    "torch.backends.fp32_precision = 'tf32'",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "torch.set_float32_matmul_precision('medium')",
    "torch.set_float32_matmul_precision('high')",
    "torch.backends.cuda.matmul.allow_tf32 = True",
]

# Whether a CPU has units for bfloat16 or not: what the products are made under is seen either way.
LOWERED = """
import warnings
import torch
from delve.numerics import moments
from delve.numerics.covariance import TorchCovarianceMatrix
def settings():
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
        return [backend.fp32_precision for backend in backends]
    return [torch.get_float32_matmul_precision()] * 2
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    {setting}
before = settings()
during = []
multiply = moments._lower_triangle
def watched(maps):
    during.append(settings())
    return multiply(maps)
moments._lower_triangle = watched
x = torch.randn(500, 80) + 2
covariance = TorchCovarianceMatrix()
covariance.update(x)
found = covariance.fix()
assert settings() == before, (settings(), before)
assert during and all(one[1] in ("ieee", "highest") for one in during), during
expected = torch.cov(x.double().T, correction=0)
assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
moments._lower_triangle = lambda maps: 1 / 0  # and where multiplying fails
try:
    covariance.fix()
except ZeroDivisionError:
    pass
assert settings() == before, (settings(), before)
# On a GPU, there or not: what would be made there is made under its own setting.
with moments.exact_products(torch.device("cuda")):
    assert settings()[0] in ("ieee", "highest"), settings()
assert settings() == before, (settings(), before)
print(before)
"""


@pytest.mark.parametrize("setting", SETTINGS)
def test_products_are_exact_however_precision_was_lowered_and_leave_the_setting(setting):
    program = LOWERED.format(setting=setting)
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=120, capture_output=True, text=True
    )
    assert any(word in done.stdout for word in ("tf32", "bf16", "medium", "high'")), done.stdout


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("allow_tf32", [False, True])
@pytest.mark.parametrize("is_cast", [False, True])
def test_a_gpu_is_exact_also_where_tf32_is_allowed_and_under_autocast(allow_tf32, is_cast):
    maps = maps_of(300, positions=2000).cuda()
    torch.set_float32_matmul_precision("high" if allow_tf32 else "highest")
    try:
        with torch.autocast("cuda", torch.bfloat16, enabled=is_cast):
            blocks = products(maps)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert all(product.is_cuda for _, _, product in blocks)
    assert_exact(blocks, maps.cpu())


@pytest.mark.parametrize("scale", [1e25, 1e-25])
@pytest.mark.parametrize("features", [64, 130])
def test_numbers_whose_squares_leave_float32_are_multiplied_in_float64(scale, features):
    maps = maps_of(features).mul(scale)
    blocks = products(maps)
    assert all(product.dtype is torch.float64 for _, _, product in blocks)
    assert_exact(blocks, maps)


def test_samples_that_are_all_zero_are_no_cause_to_multiply_again(monkeypatch):
    multiplied = []
    whole = moments._lower_triangle
    monkeypatch.setattr(
        moments, "_lower_triangle", lambda maps: multiplied.append(maps.dtype) or whole(maps)
    )
    blocks = products(torch.zeros(1, 64, 500))
    assert not any(product.any() for _, _, product in blocks)
    assert multiplied == [torch.float32]
