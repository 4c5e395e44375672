"""What a checkpoint of Lightning's keeps of Delve: the state of each process, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import distributed

from delve.base import get_logger

logger = get_logger(__name__)


def gathered(own: Mapping[str, Any] | None) -> list[Any]:
    """The states of all processes, in the one that writes the checkpoint; collective.

    Lightning has the first process write, and a checkpoint tells no callback its path.

    Args:
        own: That of this process.
    """
    if not _is_distributed():
        return [own]
    is_first = distributed.get_rank() == 0
    states: list[Any] | None = [None] * distributed.get_world_size() if is_first else None
    distributed.gather_object(_on_cpu(own), states, dst=0)
    return states or []


def own_state(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state that this process goes on from; None for all, where there is not one for each."""
    states = checkpoint.get("states")
    count = distributed.get_world_size() if _is_distributed() else 1
    rank = distributed.get_rank() if _is_distributed() else 0
    if not isinstance(states, list) or not all(isinstance(state, dict) for state in states):
        return None
    if len(states) != count:
        if rank == 0:
            logger.warning(
                "the checkpoint was written by %d processes, and %d go on from it: the samples of "
                "each since the last row are missing from the next one",
                len(states),
                count,
            )
        return None
    own: dict[str, Any] = states[rank]
    return own


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _on_cpu(value: Any) -> Any:
    """The same with all tensors where every process can read them."""
    match value:
        case torch.Tensor():
            return value.cpu()
        case dict():
            return {key: _on_cpu(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_on_cpu(item) for item in value)
        case _:
            return value
