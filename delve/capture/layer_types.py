"""Which modules are layers, and what the output of one is that nobody has registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from delve.capture.activations import SamplingMethods, is_trackable, samples
from delve.capture.wrappers import adapted
from delve.errors import ArgumentError

DEFAULT, ALL = "default", "all"  # what `track` may be

_UNREGISTERED = samples.dispatch(object)

Wanted = Callable[[nn.Module], bool]
Include = type[nn.Module] | Wanted | Sequence[type[nn.Module] | Wanted]

# Types of other libraries (and one of torch) whose last dimension is features, as a linear layer's.
_LINEAR = frozenset(
    {
        "torch.nn.modules.linear.Bilinear",
        "transformers.pytorch_utils.Conv1D",
        "torch_geometric.nn.dense.linear.Linear",
        "torch_geometric.nn.dense.linear.HeteroLinear",
    }
)


def is_layer(module: nn.Module) -> bool:
    """Whether a module is tracked unless the user says otherwise.

    That is one of a registered type; the experts of a mixture in one module, and what routes to
    them; and what looks like a linear layer, as quantised ones do.
    """
    layer = adapted(module)
    _register(type(layer))
    if is_trackable(layer):
        return True
    if not has_forward(layer):
        return False
    return _is_experts(layer) or _is_router(layer) or _is_like_linear(layer)


def is_weighted(module: nn.Module) -> bool:
    """Whether a module has a weight of two dimensions: what ``track="all"`` takes beside layers."""
    return has_forward(module) and _own_weight(adapted(module), 2) is not None


def has_forward(module: nn.Module) -> bool:
    """Whether a module can be hooked and called: a list of modules or a scripted one cannot."""
    if isinstance(module, torch.jit.ScriptModule):
        return False
    return type(module).forward is not nn.Module.forward


def check_track(track: Any) -> str:
    """How much is tracked.

    Raises:
        ArgumentError: It is neither ``default`` nor ``all``.
    """
    if track not in (DEFAULT, ALL):
        raise ArgumentError(f"track must be {DEFAULT!r} or {ALL!r}, not {track!r}")
    return str(track)


def check_include(include: Any) -> tuple[type[nn.Module] | Wanted, ...]:
    """What else is tracked: types of modules, and functions that tell of one.

    Raises:
        ArgumentError: Something else is among them.
    """
    chosen = tuple(include) if isinstance(include, (list, tuple, set, frozenset)) else (include,)
    for one in chosen:
        is_type = isinstance(one, type)
        is_usable = issubclass(one, nn.Module) if is_type else callable(one)
        if not is_usable or isinstance(one, nn.Module):
            raise ArgumentError(
                "include must be types of modules, such as [nn.LayerNorm, nn.GELU], or functions "
                f"that tell of a module whether to track it, not {one!r}"
            )
    return chosen


def is_included(module: nn.Module, include: Sequence[type[nn.Module] | Wanted]) -> bool:
    """Whether a module is of one of the types, or one of the functions says so."""
    return has_forward(module) and any(
        is_a(module, one) if isinstance(one, type) else bool(one(module)) for one in include
    )


def is_a(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module, or the layer that it adapts, is of a type."""
    return isinstance(module, kind) or isinstance(adapted(module), kind)


def samples_of(layer: nn.Module, output: Any, methods: SamplingMethods) -> Tensor:
    """The samples in the output of any module, whether or not its type is registered.

    Features are in the last dimension, as in a linear layer's output; of normalisations over
    channels, and of what has no weight and four dimensions or more, in the second.

    Raises:
        TypeError: It is no tensor, or not of the width that the layer's weight has.
    """
    of_its_type = samples.dispatch(type(layer))
    if of_its_type is _UNREGISTERED:
        layer = adapted(layer)
        of_its_type = samples.dispatch(type(layer))
        if of_its_type is _UNREGISTERED:
            return _features(layer, output, methods)
    return of_its_type(layer, output, methods)


def _features(layer: nn.Module, output: Any, methods: SamplingMethods) -> Tensor:
    if isinstance(output, PackedSequence):
        output = output.data
    if not isinstance(output, Tensor) or output.dim() < 2:
        raise TypeError("it has no rows of features")
    widths = _widths(layer)
    if widths and output.shape[-1] not in widths:
        raise TypeError("its last dimension is none of the weight's")
    if not widths and _has_channels_first(layer, output):
        return methods.of_maps(output)
    return samples.dispatch(nn.Linear)(layer, output, methods)


def dimensions_of(tensor: Tensor | None) -> int:
    """How many dimensions a weight has; none before a lazy module has seen data."""
    if tensor is None or nn.parameter.is_lazy(tensor):
        return 0
    return len(getattr(tensor, "ds_shape", tensor.shape))  # DeepSpeed keeps the whole one's there


def _register(kind: type[nn.Module]) -> None:
    """Register the samples of a type that is known by its name, now that somebody has one."""
    if samples.dispatch(kind) is not samples.dispatch(object):
        return
    for cls in kind.__mro__:
        if f"{cls.__module__}.{cls.__qualname__}" in _LINEAR:
            samples.register(cls, samples.dispatch(nn.Linear))


def _is_experts(layer: nn.Module) -> bool:
    """The weights of several experts in one module, as in Transformers 5: (experts x in x out)."""
    named = any("expert" in cls.__name__.lower() for cls in type(layer).__mro__)
    weights = [weight for weight in layer._parameters.values() if weight is not None]
    numbers = [len(weight) for weight in weights if dimensions_of(weight) == 3]
    if named:
        return bool(numbers)
    return len(numbers) > 1 and len(set(numbers)) == 1 and numbers[0] > 1  # of experts, in each


def _is_router(layer: nn.Module) -> bool:
    return type(layer).__name__.lower().endswith("router") and _own_weight(layer, 2) is not None


def _is_like_linear(layer: nn.Module) -> bool:
    """It says how many features go in and out, and holds what they are computed with."""
    if not {"in_features", "out_features"} <= vars(layer).keys():
        return False
    held = (*layer._parameters.values(), *layer._buffers.values())
    packs = callable(getattr(type(layer), "weight", None))  # as torch's own quantised layers do
    return packs or any(dimensions_of(tensor) >= 2 for tensor in held)


def _own_weight(layer: nn.Module, dimensions: int) -> Tensor | None:
    weight = layer._parameters.get("weight")
    return weight if dimensions_of(weight) == dimensions else None


def _widths(layer: nn.Module) -> tuple[int, ...]:
    """How many features an output may have; none where the layer does not tell."""
    features = vars(layer).get("out_features")
    if isinstance(features, int):
        return (features,)
    weight = _own_weight(layer, 2)
    return () if weight is None else tuple(getattr(weight, "ds_shape", weight.shape))


def _has_channels_first(layer: nn.Module, output: Tensor) -> bool:
    weight = _own_weight(layer, 1)
    if output.is_nested or output.dim() < 3:
        return False
    if weight is not None and weight.numel() != output.shape[-1]:
        return bool(weight.numel() == output.shape[1])
    if {"num_features", "num_channels"} & vars(layer).keys():
        return True
    return output.dim() > 3 and weight is None and "normalized_shape" not in vars(layer)
