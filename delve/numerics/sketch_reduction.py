"""Sketches of all processes, brought together: they add up where their directions are the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from delve.numerics.accumulator import Accumulator, sketch_of
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.directions import Directions
from delve.numerics.memory import is_out_of_memory
from delve.numerics.processes import Group, device, from_rank, ranks_of
from delve.numerics.sketch import Sketch
from delve.records import LayerKey

Identity = tuple[int, int, int, float]


def identities(covariances: Mapping[LayerKey, Accumulator]) -> dict[LayerKey, Identity]:
    """What tells the directions of each sketch apart from others."""
    return {
        key: one.directions.identity for key, one in covariances.items() if isinstance(one, Sketch)
    }


def holder_of(key: LayerKey, identities: Iterable[Mapping[LayerKey, Identity]]) -> int | None:
    """The first process, within the group, with a sketch of a layer; None: it is exact in all."""
    return next((process for process, theirs in enumerate(identities) if key in theirs), None)


def have_other_directions(key: LayerKey, identities: Iterable[Mapping[LayerKey, Identity]]) -> bool:
    """Whether processes have sketches of a layer that do not add up."""
    return len({theirs[key] for theirs in identities if key in theirs}) > 1


def reduced_sketch(
    key: LayerKey,
    covariance: Accumulator | None,
    identities: Sequence[Mapping[LayerKey, Identity]],
    writer: int,
    group: Group,
) -> Sketch:
    """The sketch over the samples of all processes, complete in the one that writes.

    Collective. What a process holds exactly is made a sketch with the directions of the others;
    all get the directions for the next epoch.

    Args:
        key: Its mode and layer.
        covariance: This process's, if it has samples.
        identities: The directions of the sketches of each process; one has it.
        writer: The process, within the group, that writes.
        group: The processes.
    """
    where, own = device(group), dist.get_rank(group)
    holder = holder_of(key, identities)
    assert holder is not None
    is_sketch = isinstance(covariance, Sketch)
    given = covariance.directions if isinstance(covariance, Sketch) else None
    state = given.state_dict() if given is not None and own == holder else None
    if not all(key in theirs for theirs in identities):
        state = from_rank(state, holder, group)
    directions = given or Directions.from_state_dict(_on(state, where))
    mine = covariance if isinstance(covariance, Sketch) else Sketch(directions)
    if not is_sketch and isinstance(covariance, TorchCovarianceMatrix):
        sketch_of(covariance, mine)
    whole = _summed(mine, holder, writer, group)
    following = _following(whole) if own == writer else None
    told = from_rank(None if following is None else following.state_dict(), writer, group)
    if told is not None and own != writer:
        following = Directions.from_state_dict(_on(told, directions.matrix.device))
    whole.following = following
    return whole


def _summed(mine: Sketch, holder: int, writer: int, group: Group) -> Sketch:
    """The sums of all; in processes other than the writer's, they are no sums of anything."""
    where = device(group)
    state = {
        name: value.to(where) if isinstance(value, Tensor) else value
        for name, value in mine.state_dict().items()
    }
    origin = torch.zeros_like(state["mean"]) if state["origin"] is None else state["origin"]
    common = origin.clone()
    dist.broadcast(common, src=ranks_of(group)[holder], group=group)
    samples = int(state["samples"])
    mean = (origin - common) + state["mean"] if samples else torch.zeros_like(common)
    counts = torch.tensor([samples, state["parts"]], dtype=torch.float64, device=where)
    sums = torch.cat([mean * samples, counts])
    dist.all_reduce(sums, group=group)
    total = int(sums[-2])
    common_mean = sums[:-2] / max(total, 1)
    # Around the common mean scatters simply add up.
    offset = mean - common_mean
    directions = mine.directions.to(where)
    state["products"].addr_(offset, directions.transposed_product(offset), alpha=samples)
    state["probes"].addr_(offset, offset @ directions.images, alpha=samples)
    state["trace"].add_(offset.square().sum(), alpha=samples)
    for name in ("products", "probes", "trace"):
        dist.reduce(state[name], dst=ranks_of(group)[writer], group=group)
    largest = torch.tensor([state["largest"]], device=where)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
    state |= {
        "samples": total,
        "parts": int(sums[-1]) + dist.get_world_size(group),
        "largest": int(largest),
        "origin": common,
        "mean": common_mean,
    }
    return Sketch.from_state_dict(state, directions)


def _following(whole: Sketch) -> Directions | None:
    """The directions for the next epoch; where memory is not enough, they stay as they are."""
    try:
        whole.bounds()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    return whole.following


def _on(state: Any, where: torch.device) -> dict[str, Any]:
    return {**state, "matrix": state["matrix"].to(where)}
