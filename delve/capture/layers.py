"""Which modules are tracked, and what they are called."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from delve.base.log import get_logger
from delve.capture.activations import is_convolution, is_trackable
from delve.errors import ArgumentError

Modules = nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]
Layers = dict[str, nn.Module]
LayerFilter = Callable[[Layers], Layers]

logger = get_logger(__name__)


@dataclass(frozen=True)
class Selection:
    """Which layers of which modules a user wants, to be looked up again when the model changes.

    Attributes:
        modules: What the user gave.
        layer_filter: Takes all trackable layers by name, and returns the ones to track.
        ignore_layer_names: Names of layers to leave out.
        include_conv: Whether convolutions are tracked.
    """

    modules: Modules
    layer_filter: LayerFilter | None = None
    ignore_layer_names: Sequence[str] = ()
    include_conv: bool = True

    def layers(self) -> Layers:
        """The layers to track as the model is now; see :func:`select_layers`."""
        return select_layers(
            self.modules, self.layer_filter, self.ignore_layer_names, self.include_conv
        )

    def roots(self) -> dict[nn.Module, nn.Module]:
        """For each module the model that it is a part of: one that is given alone is its own."""
        return {
            module: root for _, root in reversed(_roots(self.modules)) for module in root.modules()
        }


def select_layers(
    modules: Modules,
    layer_filter: LayerFilter | None = None,
    ignore_layer_names: Sequence[str] = (),
    include_conv: bool = True,
) -> Layers:
    """The layers to track, by name.

    Raises:
        ArgumentError: There is no model, or no layer in it that can be tracked, or the filter
            returned something else.
    """
    layers = find_layers(modules)
    ignored = [ignore_layer_names] if isinstance(ignore_layer_names, str) else ignore_layer_names
    unknown = [name for name in ignored if name not in layers]
    if unknown:
        logger.warning("ignore_layer_names: there is no layer %s", ", ".join(map(repr, unknown)))
    selected = {
        name: layer
        for name, layer in layers.items()
        if name not in ignored and (include_conv or not is_convolution(layer))
    }
    if layer_filter is not None:
        selected = _filtered(selected, layer_filter)
    if not selected:
        raise ArgumentError(
            "layer_filter, ignore_layer_names and include_conv leave no layer to track of: "
            f"{', '.join(layers)}"
        )
    return selected


def find_layers(modules: Modules) -> Layers:
    """All trackable layers, by their names in ``named_modules()``.

    Wrappers (DataParallel, DistributedDataParallel, ``torch.compile``) add nothing to a name,
    wherever in the model they are. A bare layer is called ``Linear-0``, after its type; modules in
    a list are called ``Linear-0``, ``Conv2d-1`` and so on by position; those in a dictionary by
    their keys.

    Raises:
        ArgumentError: There is no model, or no layer in it that can be tracked, or the keys give
            two layers one name or a layer none.
    """
    roots = _roots(modules)
    layers: Layers = {}
    for prefix, root in roots:
        for name, layer in _named_layers(root, prefix):
            if not name:
                raise ArgumentError(
                    f"modules: the key '' leaves a {type(layer).__name__} without a name; give one"
                )
            if any(layer is other for other in layers.values()):  # a shared one is one
                continue
            if name in layers:
                raise ArgumentError(
                    f"modules: two layers would have the name {name!r}; choose another key for one"
                )
            layers[name] = layer
    if not layers:
        raise _nothing_to_track([root for _, root in roots])
    return layers


def unwrap(module: nn.Module) -> nn.Module:
    """The user's own model inside of wrappers."""
    while (inner := _wrapped(module)) is not None:
        module = inner
    return module


def _wrapped(module: nn.Module) -> nn.Module | None:
    """What a wrapper wraps; None if the module is no wrapper."""
    if isinstance(module, (DataParallel, DistributedDataParallel)):
        return module.get_submodule("module")
    # Importing the compiler takes as long as importing torch. Before that nothing is compiled.
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    if isinstance(module, getattr(compiler, "OptimizedModule", ())):
        return module.get_submodule("_orig_mod")
    return None


def _roots(modules: Any) -> list[tuple[str, nn.Module]]:
    """Each module to search, with the prefix of its layers' names."""
    if isinstance(modules, nn.Module):
        model = unwrap(modules)
        return [(f"{type(model).__name__}-0" if is_trackable(model) else "", model)]
    if isinstance(modules, Mapping):
        named = list(modules.items())
    elif isinstance(modules, (list, tuple)):
        unwrapped = [unwrap(m) if isinstance(m, nn.Module) else m for m in modules]
        named = [(f"{type(m).__name__}-{i}", m) for i, m in enumerate(unwrapped)]
    else:
        raise ArgumentError(
            "modules must be the model to track, a torch.nn.Module (or a list or dictionary of "
            f"them), not {_describe(modules)}"
        )
    for name, module in named:
        if not isinstance(name, str) or not isinstance(module, nn.Module):
            raise ArgumentError(
                f"modules must be torch.nn.Modules, but {name!r} is {_describe(module)}"
            )
    return [(name, unwrap(module)) for name, module in named]


def _named_layers(root: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    inside_attention = {
        inner
        for module in root.modules()
        if isinstance(module, nn.MultiheadAttention)
        # Attention calls its projection as a function: the projection's own hook never fires.
        for inner in module.modules()
        if inner is not module
    }
    for name, module in _named_modules(root, prefix, set()):
        if is_trackable(module) and module not in inside_attention:
            yield name, module


def _named_modules(
    module: nn.Module, name: str, seen: set[nn.Module]
) -> Iterator[tuple[str, nn.Module]]:
    """As ``module.named_modules()``, but a wrapper gives its name to what it wraps."""
    if module in seen:
        return
    seen.add(module)
    yield name, module
    wrapped = _wrapped(module)
    for segment, child in module.named_children():
        inner = name if child is wrapped else ".".join(filter(None, (name, segment)))
        yield from _named_modules(child, inner, seen)


def _filtered(layers: Layers, layer_filter: LayerFilter) -> Layers:
    if not callable(layer_filter):
        raise ArgumentError(
            "layer_filter must be a function from the dictionary of layers to those to track, not "
            f"{_describe(layer_filter)}"
        )
    filtered = layer_filter(dict(layers))
    if not isinstance(filtered, Mapping):
        raise ArgumentError(
            f"layer_filter must return the dictionary of layers to track, not {_describe(filtered)}"
        )
    added = [name for name, layer in filtered.items() if layers.get(name) is not layer]
    if added:
        raise ArgumentError(
            f"layer_filter must return layers that it was given; these are new: {', '.join(added)}"
        )
    return dict(filtered)


def _describe(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _nothing_to_track(roots: list[nn.Module]) -> ArgumentError:
    message = f"modules: no layer in them can be tracked; they hold {_types_in(roots)}"
    if any(
        isinstance(module, torch.jit.ScriptModule) for root in roots for module in root.modules()
    ):
        message += ". A scripted module cannot be tracked; pass the model as it is before scripting"
    return ArgumentError(message)


def _types_in(roots: list[nn.Module]) -> str:
    counts = Counter(type(module).__name__ for root in roots for module in root.modules())
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
