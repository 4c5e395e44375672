"""What a checkpoint of Lightning's keeps of Delve: the state of each process, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import distributed


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


def own_state(checkpoint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The state that this process goes on from, whatever the number of processes before.

    None, in each process, where one of those before kept none.
    """
    states = checkpoint.get("states")
    if not isinstance(states, list) or not all(isinstance(state, dict) for state in states):
        return None
    count = distributed.get_world_size() if _is_distributed() else 1
    if len(states) == count:
        own: dict[str, Any] = states[distributed.get_rank() if _is_distributed() else 0]
        return own
    trackers = [state["tracker"] for state in states]
    return {"tracker": trackers, "scalars": states[0]["scalars"]} if states else None


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
