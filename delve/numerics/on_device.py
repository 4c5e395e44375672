"""Large batches on a GPU: few operations, however many samples, and nothing to wait for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from delve.numerics.feature_maps import parts_of
from delve.numerics.moments import Moments, products
from delve.numerics.scratch import scratch

_MOST = 2**26  # elements that are copied at once
MOST_SAMPLES = 4096  # of one float32 product: more would add up too many roundings


def add_on_device(moments: Moments, maps: Tensor, begin: Callable[[], None]) -> None:
    """Add the positions of maps as samples, around the mean of all before them.

    A batch that is far from that mean is as far apart in the covariance itself, which bounds its
    rounding; the first counts around its own.

    Args:
        moments: What they are added to.
        maps: (batch x features x positions).
        begin: Called before that changes.
    """
    for part in parts_of(maps, _MOST):
        mean = moments.mean
        if not moments.samples:
            mean = part.mean(dim=(0, 2), dtype=torch.float64)
        centred = _centred(part, mean)
        rest, blocks = centred.mean(dim=(0, 2), dtype=torch.float64), products(centred)
        begin()
        moments.mean = mean
        moments.add_around_mean(part.shape[0] * part.shape[2], rest, blocks)


def _centred(maps: Tensor, mean: Tensor) -> Tensor:
    """A copy less the mean, (batches x features x positions), of few enough positions each."""
    pieces = _pieces(maps.shape[2])
    split = torch.unflatten(maps, 2, (pieces, -1)).transpose(1, 2)
    dtype = torch.promote_types(maps.dtype, torch.float32)
    if maps.stride(1) == 1:  # features lie side by side, and so in the copy
        space = scratch(split.transpose(2, 3).shape, dtype, maps.device).transpose(2, 3)
    else:
        space = scratch(split.shape, dtype, maps.device)
    torch.sub(split, mean[:, None], out=space)
    return space.flatten(0, 1)


def _pieces(positions: int) -> int:
    """Into how many parts of one length they are split; one where there is no such number."""
    least = -(-positions // MOST_SAMPLES)
    return next((many for many in range(least, 2 * least) if positions % many == 0), 1)
