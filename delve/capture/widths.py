"""How many features a layer's samples will have, where its module tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from delve.capture.activations import SamplingMethods, is_convolution
from delve.capture.layers import Layers
from delve.capture.memory import MemoryLimit, MemoryPlan
from delve.capture.wrappers import adapted
from delve.errors import ArgumentError
from delve.numerics.processes import gather, is_distributed


def plan_of(
    layers: Layers, methods: SamplingMethods, memory_limit: Any, exact: Any, sketch: Any
) -> MemoryPlan:
    """How layers are to be gathered, as the user says.

    Args:
        layers: The tracked layers by name.
        methods: How outputs become samples.
        memory_limit: What they may take, as the user gave it.
        exact: Names of layers to gather exactly, as the user gave them.
        sketch: Names of layers to gather by sketch, as the user gave them.

    Raises:
        ArgumentError: One of these cannot be used.
    """
    limit = MemoryLimit.of(memory_limit)
    chosen = {"exact": _names("exact", exact, layers), "sketch": _names("sketch", sketch, layers)}
    if both := chosen["exact"] & chosen["sketch"]:
        raise ArgumentError(f"exact and sketch both name {', '.join(sorted(both))}; choose one")
    widths = {name: width for name, layer in layers.items() if (width := width_of(layer, methods))}
    return MemoryPlan(limit, chosen["exact"], chosen["sketch"], widths)


def agree(plan: MemoryPlan, layers: Layers, device: torch.device | None, group: Any) -> None:
    """Have the processes of a training decide alike: by the least memory that one of them has.

    Collective where a process group is there.
    """
    if is_distributed(group):
        allowed = plan.limit.in_bytes(device or device_of(layers))
        plan.limit = MemoryLimit(None, min(gather(allowed, group)))


def device_of(layers: Layers) -> torch.device:
    """Where the weights of the first layer are, which has any."""
    tensors = (tensor for layer in layers.values() for tensor in layer.parameters())
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    return torch.device("cpu") if device.type == "meta" else device


def _names(argument: str, given: Any, layers: Layers) -> frozenset[str]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Iterable):
        raise ArgumentError(f"{argument} must be a list of layers' names, not {given!r}")
    wanted = frozenset(names)
    unknown = sorted(str(name) for name in wanted if name not in layers)
    if unknown:
        raise ArgumentError(
            f"{argument}: no tracked layer is called {', '.join(unknown)}; there are "
            f"{', '.join(layers)}"
        )
    return wanted


def width_of(module: nn.Module, methods: SamplingMethods) -> int | None:
    """The number of features, from the shape that the layer was made with; None: not known yet.

    Args:
        module: The layer.
        methods: How outputs become samples: flattened maps have as many features as fit in them.
    """
    layer = adapted(module)
    if is_convolution(layer):
        return None if methods.conv == "flatten" else _number(layer, "out_channels")
    if isinstance(layer, nn.RNNBase):
        size = layer.proj_size or layer.hidden_size
        return size * (2 if layer.bidirectional else 1)
    return next(
        (
            width
            for name in ("out_features", "embed_dim", "nf")  # nf: transformers' Conv1D
            if (width := _number(layer, name))
        ),
        None,
    )


def _number(layer: nn.Module, name: str) -> int | None:
    value = getattr(layer, name, None)
    return value if isinstance(value, int) and value > 0 else None
