"""The processes of one training: which of them writes, and how their samples come together.

Every other module is free of ``torch.distributed``.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from delve.covariance import Moments, TorchCovarianceMatrix
from delve.errors import DelveError

T = TypeVar("T")
Key = tuple[str, str]


def is_connected() -> bool:
    """Whether a process group of more than one process is there."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_first() -> bool:
    """Whether this process is the one that writes: rank 0 of the group, or of the environment."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return os.environ.get("RANK", "0") in ("", "0")


def agree(decide: Callable[[], T]) -> T:
    """The first process decides, all get its answer; an error there is raised in all of them.

    Collective where a process group is there. Without one each process decides for itself.
    """
    if not is_connected():
        return decide()
    message: list[Any] = [None]
    if is_first():
        try:
            message = [(decide(), None)]
        except Exception as error:
            message = [(None, _portable(error))]
    dist.broadcast_object_list(message, src=0, device=_device())
    answer, failure = message[0]
    if failure is not None:
        raise failure
    return answer  # type: ignore[no-any-return]


def reduce_covariances(
    covariances: Mapping[Key, TorchCovarianceMatrix],
) -> dict[Key, TorchCovarianceMatrix]:
    """The covariances over the samples of all processes, complete in the first one.

    Collective where a process group is there. A process that lacks a layer, or has no sample at
    all, takes part with none.
    """
    if not is_connected():
        return dict(covariances)
    held = [(key, covariance.features) for key, covariance in covariances.items()]
    all_held: list[list[tuple[Key, int]]] = [[]] * dist.get_world_size()
    dist.all_gather_object(all_held, held)
    features = {key: count for one in all_held for key, count in one}
    # Every process goes through the same keys in the same order.
    return {key: _reduce(covariances.get(key), features[key]) for key in features}


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
    """The error itself if it can travel, else one of the same text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return DelveError(f"{type(error).__name__} in the first process: {error}")
    return error
