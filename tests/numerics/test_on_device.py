"""What a GPU is asked to do, as far as that shows without one: the numbers, and how often."""

import contextlib

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from delve.numerics import moments as sums
from delve.numerics import on_device
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.moments import Moments
from delve.numerics.on_device import add_on_device

MOST = 12  # kernels a call, of up to 64 million numbers

# What gives another view of the same memory, or memory without anything in it.
_FREE = ("view", "slice", "select", "transpose", "expand", "empty", "detach", "as_strided", "split",
         "promote_types", "unsqueeze", "alias", "t.", "squeeze", "permute", "unfold")  # fmt: skip


class Counted(TorchDispatchMode):
    """Counts the operations that do something; on the meta device none can wait for a number."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).removeprefix("aten.")
        if not name.startswith(_FREE) and "unsafe_view" not in name:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def exact(samples):
    return np.cov(samples.double().numpy().T, bias=True).reshape(samples.shape[1], -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", ["rows", "maps"])
@pytest.mark.parametrize(("features", "positions"), [(70, 9000), (8, 5000), (130, 4097)])
def test_large_batches_are_exact(features, positions, layout, dtype):
    moments = Moments.none(features, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    seen, began = [], []
    for number in range(3):
        shape = (2, features, positions)
        maps = (torch.randn(shape, generator=generator).cumsum(1) + 30 * number).to(dtype)
        seen.append(maps.transpose(1, 2).reshape(-1, features))
        if layout == "rows":
            maps = seen[-1].contiguous()[None].transpose(1, 2)
        add_on_device(moments, maps, lambda: began.append(1))
    expected = exact(torch.cat(seen))
    bound = 1e-6 * np.linalg.eigvalsh(expected).max()
    assert np.abs(moments.covariance().numpy() - expected).max() <= bound
    assert moments.samples == 6 * positions
    assert len(began) >= 3


def test_no_product_is_of_more_samples_than_float32_takes(monkeypatch):
    lengths = []
    multiply = on_device.products
    monkeypatch.setattr(
        on_device, "products", lambda maps: lengths.append(maps.shape[2]) or multiply(maps)
    )
    add_on_device(Moments.none(3, torch.device("cpu")), torch.randn(2, 3, 112 * 112), lambda: None)
    assert lengths == [112 * 112 // 4]


CALLS: dict[str, list[tuple[int, ...]]] = {
    "a small batch": [(32, 64)] * 6,
    "one that fills the block": [(3000, 256)] * 6,
    "tokens": [(8, 1024, 768)] * 6,
    "many tokens": [(16, 1024, 3072)] * 6,
    "an odd number of tokens": [(9001, 384)] * 6,
    "few features": [(70_000, 10)] * 6,
    "wide rows": [(2048, 4096)] * 6,
    "maps": [(32, 3136, 64)] * 6,
    "large maps": [(64, 112 * 112, 64)] * 6,
    "wide maps": [(16, 4096, 1024)] * 6,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_starts_few_kernels_and_waits_for_none(name, monkeypatch):
    # Autocast knows no meta device.
    monkeypatch.setattr(sums, "exact_products", lambda _device: contextlib.nullcontext())
    covariance = TorchCovarianceMatrix()
    counts = []
    shapes = CALLS[name]
    for shape in shapes:
        x = torch.empty(shape, device="meta")
        if "maps" in name:
            x = torch.empty(shape[0], shape[2], shape[1], device="meta").transpose(1, 2)
        with Counted() as counted:
            covariance.update(x)  # reading a number on the meta device would raise
        counts.append((len(counted.names), counted.names))
    assert covariance.samples == sum(int(np.prod(shape[:-1])) for shape in shapes)
    # The first have to find a mean, and to make room.
    assert all(count <= MOST for count, _ in counts[3:]), counts
    assert len(counts) > 4
