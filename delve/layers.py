"""Which modules are tracked, and what they are called."""

from __future__ import annotations

from collections import Counter

from torch import nn

from delve.activations import is_trackable
from delve.errors import ArgumentError


def find_layers(modules: nn.Module) -> dict[str, nn.Module]:
    """The trackable layers of a model, by their names in ``named_modules()``.

    A bare layer is called ``Linear-0``, after its type.

    Raises:
        ArgumentError: There is no model, or no layer in it that can be tracked.
    """
    if not isinstance(modules, nn.Module):
        raise ArgumentError(
            f"modules must be the model to track, a torch.nn.Module, not {_describe(modules)}"
        )
    layers = {
        name or f"{type(module).__name__}-0": module
        for name, module in modules.named_modules()
        if is_trackable(module)
    }
    if not layers:
        raise ArgumentError(
            f"modules: no layer in {type(modules).__name__} can be tracked; "
            f"it holds {_types_in(modules)}"
        )
    return layers


def _describe(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _types_in(model: nn.Module) -> str:
    counts = Counter(type(module).__name__ for module in model.modules())
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())
