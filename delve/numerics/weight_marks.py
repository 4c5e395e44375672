"""Numbers by which a layer's weight is known, to tell whether processes have the same layer.

Replicas of a model hold equal weights, or nearly so where they are averaged now and then. Processes
that have other weights under the same name have a stage each, or parts of a layer that were cut by
hand, or experts: their samples are not those of one layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from delve.numerics.layouts import has_spread_weights

Marks = dict[str, list[float]]

_NUMBERS = 16
_APART = 0.5  # of the norm: weights that were drawn apart are 1.4 apart


def marks_of(layers: Mapping[str, nn.Module]) -> Marks:
    """Some elements of each layer's weight; nothing of those that are whole in no process."""
    marks = {}
    for name, layer in layers.items():
        weight = _weight_of(layer)
        if weight is not None and not has_spread_weights(layer):
            elements = weight.detach().reshape(-1)
            marks[name] = elements[:: max(1, len(elements) // _NUMBERS)][:_NUMBERS].tolist()
    return marks


def unlike(marks: Sequence[Marks]) -> dict[str, list[int]]:
    """The layers of which processes have other weights, each with two such processes."""
    found: dict[str, list[int]] = {}
    first: dict[str, tuple[int, np.ndarray]] = {}
    for process, theirs in enumerate(marks):
        for name, numbers in theirs.items():
            other, known = first.setdefault(name, (process, np.array(numbers)))
            if name not in found and _are_apart(known, np.array(numbers)):
                found[name] = [other, process]
    return found


def _weight_of(layer: nn.Module) -> Tensor | None:
    """The largest that a layer has of its own, or that its weight is computed from."""
    own = list(layer.parameters(recurse=False))
    parametrised = layer._modules.get("parametrizations")
    if parametrised is not None:
        own += parametrised.parameters()
    return max(filter(_is_whole, own), key=Tensor.numel, default=None)


def _is_whole(weight: Tensor) -> bool:
    """Whether it is a weight as a layer has it: sharded ones are flat, or empty."""
    return weight.dim() > 1 and weight.is_floating_point() and weight.numel() > 0


def _are_apart(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False  # the outputs tell: their numbers of features are not the same
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return False
    larger = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)))
    return float(np.linalg.norm(one - other)) > _APART * larger
