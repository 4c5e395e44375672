"""The states of a tracker's processes in checkpoints: whose each is, and who loads what of them.

Each process's state is one value of bytes under a name of its own. So whatever keeps checkpoints
(``torch.save``, ``torch.distributed.checkpoint``, Accelerate) keeps it whole, and mixes it with
that of no other process.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from delve.base.log import get_logger
from delve.capture.gathered_states import combined, without_samples
from delve.errors import ArgumentError
from delve.numerics.processes import named

_MERGED = "merged"
_OF = "process-"

Content = dict[str, Any]  # what a process needs to go on: `recorder`, `staged` and the like

logger = get_logger("delve.tracker")


def of_process(epoch: int, content: Content, rank: int, processes: int) -> dict[str, Any]:
    """The state of one process, of plain values."""
    return {"epoch": epoch, "processes": processes, f"{_OF}{rank}": _as_bytes(content)}


def of_all(epoch: int, content: Content | None, processes: int) -> dict[str, Any]:
    """The state of all processes, as the one that writes has it; in the others without content."""
    merged = {} if content is None else {_MERGED: _as_bytes(content)}
    return {"epoch": epoch, "processes": processes, **merged}


def content_for(states: Sequence[Mapping[str, Any]], rank: int, processes: int) -> Content | None:
    """What one process takes of states, so that each sample counts once.

    Args:
        states: One state, or those of all processes that there were.
        rank: The process's rank.
        processes: How many there are now.

    Returns:
        None where there is nothing to take.

    Raises:
        ArgumentError: Samples would be missing, or count twice.
    """
    if len(states) == 1 and "recorder" in states[0]:
        return _of_earlier_version(dict(states[0]), processes)
    merged = [state[_MERGED] for state in states if _MERGED in state]
    if merged:
        return _shared(_from_bytes(merged[0]), rank)
    kept = {
        int(key.removeprefix(_OF)): value
        for state in states
        for key, value in state.items()
        if key.startswith(_OF)
    }
    before = max((state.get("processes", 1) for state in states), default=1)
    if not kept:
        _check_needs_none(rank)
        return None
    if processes == before and rank in kept:
        return _from_bytes(kept[rank])
    missing = sorted(set(range(before)) - set(kept))
    if missing:
        raise ArgumentError(
            f"the state is that of {named(sorted(kept))} of {before} processes, and this is rank "
            f"{rank} of {processes}: the samples of {named(missing)} are not in it. Load in each "
            f"process what it kept itself, or [all {before} states] in each; or keep "
            "state_dict(merged=True), which every process has to call. Without load_state_dict() "
            "the epoch begins with no samples"
        )
    mine = [_from_bytes(kept[one]) for one in range(rank, before, processes)]
    known = mine or [_from_bytes(kept[0])]
    if any(content["recorder"].get("layouts", {}).get("sharing") for content in known):
        raise ArgumentError(
            f"the states are those of {before} processes that worked on the same samples (tensor "
            "parallel layers): added up, they would count twice, and parts of a layer's features "
            "as samples. Where the number of processes changes, load state_dict(merged=True), "
            "which every process has to call. Without load_state_dict() the epoch begins with no "
            "samples"
        )
    if not mine:
        return _shared(known[0], rank)
    return {**mine[0], "recorder": combined([content["recorder"] for content in mine])}


def _of_earlier_version(content: Content, processes: int) -> Content:
    if processes > 1:
        logger.warning(
            "the state that is loaded was kept by an earlier version, and does not tell which of "
            "several processes it is of; it is right if each process loads what it kept itself"
        )
    return content


def _shared(content: Content, rank: int) -> Content:
    """What all processes know, and the samples in the first."""
    return content if rank == 0 else {**content, "recorder": without_samples(content["recorder"])}


def _check_needs_none(rank: int) -> None:
    if rank == 0:
        raise ArgumentError(
            "the state holds no samples: it is what state_dict(merged=True) gives to processes "
            "that do not write; load the one that the first process got"
        )


def _as_bytes(content: Content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _from_bytes(value: bytes) -> Content:
    content: Content = torch.load(io.BytesIO(value), map_location="cpu", weights_only=True)
    return content
