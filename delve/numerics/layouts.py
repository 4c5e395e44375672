"""How the processes of a training share a layer's output: tensors that are spread over a mesh.

Under tensor parallelism each process holds a part of an output's features, or the same output as
the others of its dimension of the mesh. The output's placements tell; of a layer whose own output
says nothing, the reduction compares what the processes hold.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

# Importing it takes long; where nobody has imported it, nothing is spread.
_MODULE = "torch.distributed.tensor"

# What dimensions of a mesh are called that share the work on the same data.
_SHARING = ("tp", "tensor", "model", "cp", "context", "sp", "sequence")


class Layouts:
    """What is known of how the layers' outputs are spread over the processes.

    Args:
        mesh: The user's mesh, if one was given.

    Attributes:
        known: The layers whose outputs told; the samples of these are counted once already.
        sharing: Ranks of processes that work on the same data together.
    """

    def __init__(self, mesh: Any = None) -> None:
        self.known: dict[str, None] = {}
        self.sharing: set[tuple[int, ...]] = set()
        for dimension, name in enumerate(getattr(mesh, "mesh_dim_names", None) or ()):
            if name.lower().split("_")[0] in _SHARING:
                self._note(mesh, dimension)

    def here(self, name: str, layer: nn.Module, output: Any) -> Any:
        """What of a layer's output is this process's to count; None where it is another's.

        Collective over the dimensions of the mesh over which it is in parts, as the layer is.
        An output that is not spread over processes is returned as it is.
        """
        spread = _spread(layer, output) if _MODULE in sys.modules else None
        if spread is None:
            return output
        self.known[name] = None
        mesh = spread.device_mesh
        replicate = sys.modules[_MODULE].Replicate()
        kept = [one if _is_batch(one, layer, spread) else replicate for one in spread.placements]
        is_first = True
        for dimension, one in enumerate(kept):
            if one is replicate:
                self._note(mesh, dimension)
                is_first = is_first and mesh.get_local_rank(dimension) == 0
        whole = spread.redistribute(mesh, kept).to_local()
        return whole if is_first else None

    def state_dict(self) -> dict[str, Any]:
        """What is known, of plain values."""
        return {"known": list(self.known), "sharing": [list(ranks) for ranks in self.sharing]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what a :meth:`state_dict` tells."""
        self.known.update(dict.fromkeys(state["known"]))
        self.sharing.update(map(tuple, state["sharing"]))

    def _note(self, mesh: Any, dimension: int) -> None:
        if mesh.size(dimension) > 1:
            self.sharing.add(tuple(dist.get_process_group_ranks(mesh.get_group(dimension))))


def has_spread_weights(layer: nn.Module) -> bool:
    """Whether a layer's own parameters are spread over processes.

    Its output is so too then, before hooks that come with the parallel style make it local.
    """
    return any(_is_spread(parameter) for parameter in layer.parameters(recurse=False))


def _is_spread(tensor: Any) -> bool:
    kind = getattr(sys.modules.get(_MODULE), "DTensor", None)
    return kind is not None and isinstance(tensor, kind)


def _spread(layer: nn.Module, output: Any) -> Any:
    """The output as one tensor that is spread over processes; None where it is none."""
    if _is_spread(output):
        return output
    weight = _own_weight(layer)
    if not _is_spread(weight) or not isinstance(output, Tensor) or output.is_nested:
        return None
    # Made local inside the layer: its features are those of this process's part of the weight.
    features = output.dim() - weight.dim() + 1
    if features < 0 or not _is_part(output.shape[features], weight):
        return None
    tensor = sys.modules[_MODULE]
    placements = [
        tensor.Shard(features) if one.is_shard(0) else tensor.Replicate()
        for one in weight.placements
    ]
    shape = list(output.shape)
    shape[features] = weight.shape[0]
    strides = _strides(shape)
    return tensor.DTensor.from_local(
        output.contiguous(), weight.device_mesh, placements, shape=tuple(shape), stride=strides
    )


def _own_weight(layer: nn.Module) -> Any:
    # Not by the attribute, which computes one that is parametrised, and changes what it remembers.
    while (base := layer._modules.get("base_layer")) is not None:  # what an adapter adapts
        layer = base
    return layer._parameters.get("weight", vars(layer).get("weight"))


def _is_part(features: int, weight: Any) -> bool:
    return bool(features == weight.to_local().shape[0] != weight.shape[0])


def _is_batch(placement: Any, layer: nn.Module, output: Tensor) -> bool:
    """Whether the processes have different samples: the first dimension is in parts, of samples.

    Parts of any other dimension are put together: the last step of a series is in one of them.
    """
    weight = _own_weight(layer)
    of_one_sample = weight.dim() - 1 if isinstance(weight, Tensor) else 1
    return (
        type(placement) is sys.modules[_MODULE].Shard
        and placement.dim == 0
        and output.dim() > of_one_sample
        and getattr(layer, "batch_first", True)
    )


def _strides(shape: Iterable[int]) -> tuple[int, ...]:
    strides = [1]
    for size in reversed(list(shape)[1:]):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides))
