"""The processes of one training: which of them writes, and how their samples come together.

Every other module is free of ``torch.distributed``.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from delve.base.log import get_logger
from delve.errors import DelveError
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.moments import Moments
from delve.records import LayerKey

T = TypeVar("T")

logger = get_logger(__name__)


def is_distributed() -> bool:
    """Whether a process group of more than one process is there."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_rank_zero() -> bool:
    """Whether this process is the one that writes: rank zero, by its group or its environment."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return os.environ.get("RANK", "0") in ("", "0")


def from_rank_zero(value: T | None) -> T:
    """What rank zero holds, which may be any value that can be pickled.

    Collective: a process group has to be there.
    """
    message: list[Any] = [value]
    dist.broadcast_object_list(message, src=0, device=_device())
    received: T = message[0]
    return received


def raise_in_all_ranks(act: Callable[[], T]) -> T:
    """Each process acts for itself; the first error in any of them is raised in all.

    Collective where a process group is there: a mistake made in one process alone would leave the
    others waiting for it.
    """
    if not is_distributed():
        return act()
    own_failure: Exception | None = None
    try:
        answer = act()
    except Exception as error:
        own_failure = _portable(error)
    failures = _gather(own_failure)
    failures[dist.get_rank()] = own_failure  # which still has its traceback
    for failure in failures:
        if failure is not None:
            raise failure
    return answer


def union(keys: Iterable[LayerKey]) -> list[LayerKey]:
    """The keys that any process has, in one order for all of them.

    Collective where a process group is there.
    """
    if not is_distributed():
        return list(keys)
    return list(dict.fromkeys(key for one in _gather(list(keys)) for key in one))


class CovarianceReducer:
    """Brings the covariances of all processes together, epoch by epoch."""

    def __init__(self) -> None:
        self._named_as_unequal: set[str] = set()

    def reduce(
        self, covariances: Mapping[LayerKey, TorchCovarianceMatrix]
    ) -> dict[LayerKey, TorchCovarianceMatrix]:
        """The covariances over the samples of all processes, complete in the first one.

        Collective where a process group is there. A process that lacks a layer, or has no sample
        at all, takes part with none. A layer whose number of features is not the same in all
        processes is left out, with one warning.
        """
        if not is_distributed():
            return dict(covariances)
        counts = _feature_counts(covariances)
        self._warn_of_unequal(counts)
        # Every process goes through the same keys in the same order.
        return {
            key: _reduce(covariances.get(key), *features)
            for key, features in counts.items()
            if len(features) == 1
        }

    def _warn_of_unequal(self, counts: Mapping[LayerKey, set[int]]) -> None:
        unequal = {
            layer: " and ".join(map(str, sorted(features)))
            for (_, layer), features in counts.items()
            if len(features) > 1 and layer not in self._named_as_unequal
        }
        self._named_as_unequal.update(unequal)
        if unequal and is_rank_zero():
            logger.warning(
                "the processes' outputs have different numbers of features, so these layers are "
                "left out: %s; with conv_method='flatten' all images must have one size",
                ", ".join(f"{layer} ({features})" for layer, features in unequal.items()),
            )


def _gather(mine: T) -> list[T]:
    """What each process has, by rank."""
    gathered = [mine] * dist.get_world_size()
    dist.all_gather_object(gathered, mine)
    return gathered


def _feature_counts(
    covariances: Mapping[LayerKey, TorchCovarianceMatrix],
) -> dict[LayerKey, set[int]]:
    """The numbers of features that a layer has in any process, in one order for all of them."""
    mine = {key: one.features for key, one in covariances.items() if one.samples}
    counts: dict[LayerKey, set[int]] = {}
    for features in _gather(mine):
        for key, count in features.items():
            counts.setdefault(key, set()).add(count)
    return counts


def _reduce(covariance: TorchCovarianceMatrix | None, features: int) -> TorchCovarianceMatrix:
    device = _device()
    moments = (
        covariance.moments()
        if covariance and covariance.samples
        else Moments.none(features, device)
    )
    count = torch.tensor([float(moments.samples)], dtype=torch.float64, device=device)
    mean = moments.mean.to(device)
    sums = torch.cat([mean * count, count])
    dist.all_reduce(sums)
    common_mean = sums[:-1] / sums[-1]
    # Around the common mean scatters simply add up.
    offset = mean - common_mean
    scatter = moments.scatter.to(device).addr_(offset, offset, alpha=moments.samples)
    dist.reduce(scatter, dst=0)
    whole = TorchCovarianceMatrix()
    whole.merge_moments(Moments(int(sums[-1]), common_mean, scatter))
    if covariance is not None:
        whole.saved_samples = covariance.saved_samples
    return whole


def _device() -> torch.device:
    if "nccl" in str(dist.get_backend()):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _portable(error: Exception) -> Exception:
    """The error itself if it can travel, else one of the same text; it says where it was raised."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = DelveError(f"{type(error).__name__}: {error}")
    error.add_note(f"raised in the process of rank {dist.get_rank()}")
    return error
