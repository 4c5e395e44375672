"""The moments of feature maps, without a transposed copy of them and, mostly, without any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from delve.numerics.moments import Block, Moments, products, products_and_squares
from delve.numerics.scratch import scratch

# By how much the features' squares may exceed their variances where nothing was subtracted: that is
# by how much more float32 may round than around the mean, 1e-7 of it in a product.
_MOST_OF_RAW = 2
_RAW_PART = 2**22  # elements that are multiplied at once as they are
# Fewer samples a feature, or elements, are faster copied to where rows wait for more.
_LEAST_SAMPLES, _LEAST_MAPS = 4, 2**17
_LEAST_PART = 8  # matrices: adding up products of less would cost as much as to make them


def are_maps(x: Tensor) -> bool:
    """Whether (batch x positions x features) lies in memory feature by feature, and is large."""
    samples, features = x.shape[0] * x.shape[1], x.shape[2]
    if x.stride(-1) < x.shape[1] or not x.is_cpu:
        return x.stride(-1) >= x.shape[1] >= 2 * features
    return samples >= _LEAST_SAMPLES * features and x.numel() >= _LEAST_MAPS


def add_maps(
    moments: Moments,
    maps: Tensor,
    shift: Tensor,
    most: int,
    raw: bool,
    begin: Callable[[], None],
) -> bool:
    """Add the positions of feature maps as samples.

    Products are taken of the maps as they are where their means are not much larger than what they
    vary by, as their squares tell afterwards; else around the shift.

    Args:
        moments: What they are added to.
        maps: (batch x features x positions).
        shift: (features,): a value near the samples.
        most: Elements that are copied at once.
        raw: Whether to try them as they are.
        begin: Called before what they are added to changes.

    Returns:
        Whether to try those that follow.
    """
    as_they_are, around_shift = _Left(moments, begin), _Left(moments, begin)
    raw = raw and maps.is_cpu and maps.dtype is torch.float32
    for part in parts_of(maps, _RAW_PART) if raw else (maps,):
        raw = raw and _add_raw(part, as_they_are)
        if not raw:
            _add_centred(part, shift, most, around_shift)
    as_they_are.centre(torch.zeros_like(shift))
    around_shift.centre(shift)
    return raw


def _add_raw(maps: Tensor, left: _Left) -> bool:
    """Add products of maps as they are; False, and none added, where they would round too much."""
    count = maps.shape[0] * maps.shape[2]
    blocks, squares = products_and_squares(maps)
    sums = _sums(maps)
    if squares is None or not _varies_enough(squares, sums, count):
        return False
    left.add(count, blocks, sums)
    return True


def _add_centred(maps: Tensor, shift: Tensor, most: int, left: _Left) -> None:
    for part in parts_of(maps, max(most, _LEAST_PART * maps.shape[1] ** 2)):
        space = scratch(part.shape, shift.dtype, part.device)
        torch.sub(part, shift[:, None], out=space)
        left.add(part.shape[0] * part.shape[2], products(space), _sums(space))


def parts_of(maps: Tensor, most: int) -> Iterator[Tensor]:
    """Split maps, (batch x features x positions), into parts of at most so many elements."""
    features, positions = maps.shape[1:]
    for images in torch.split(maps, max(1, most // (features * positions))):
        yield from torch.split(images, most // features, dim=2)


class _Left:
    """Products of samples that are added, and what the samples have left as they are not centred.

    Args:
        moments: What they are added to.
        begin: Called before that changes.
    """

    def __init__(self, moments: Moments, begin: Callable[[], None]) -> None:
        self._moments = moments
        self._begin = begin
        self._samples = 0
        self._sums = torch.zeros_like(moments.mean)

    def add(self, samples: int, blocks: Iterable[Block], sums: Tensor) -> None:
        """Add some."""
        self._begin()
        self._moments.add_products(blocks)
        self._samples += samples
        self._sums.add_(sums)

    def centre(self, centre: Tensor) -> None:
        """Have them count around the mean of all."""
        if self._samples:
            self._moments.centre_products(self._samples, centre, self._sums / self._samples)


def _sums(maps: Tensor) -> Tensor:
    return maps.sum(dim=2).sum(dim=0, dtype=torch.float64)


def _varies_enough(squares: Tensor, sums: Tensor, samples: int) -> bool:
    """Whether the largest of the squares, and their sum, are mostly variance; not where any is NaN.

    The rounding of two features' product is below a share of the root of their squares' product,
    and so of the largest of them.
    """
    of_all = squares.numpy()
    scatter = of_all - np.square(sums.numpy()) / samples
    pairs = (of_all.max(), scatter.max()), (of_all.sum(), scatter.sum())
    return all(of_raw <= _MOST_OF_RAW * of_centred for of_raw, of_centred in pairs)
