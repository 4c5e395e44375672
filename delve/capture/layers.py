"""Which modules are tracked, and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from delve.base.log import get_logger
from delve.capture.activations import is_convolution
from delve.capture.layer_types import (
    ALL,
    DEFAULT,
    Include,
    Wanted,
    check_include,
    check_track,
    is_included,
    is_layer,
    is_weighted,
)
from delve.capture.wrappers import adapted, named_modules, parts_without_passes, unwrap
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
        track: ``default``, or ``all``: every module with a weight of two dimensions too.
        include: Types of other modules to track, and functions that tell of one whether to.

    Raises:
        ArgumentError: ``track`` or ``include`` cannot be used.
    """

    modules: Modules
    layer_filter: LayerFilter | None = None
    ignore_layer_names: Sequence[str] = ()
    include_conv: bool = True
    track: str = DEFAULT
    include: Include = ()

    def __post_init__(self) -> None:
        check_track(self.track)
        check_include(self.include)

    def layers(self) -> Layers:
        """The layers to track as the model is now; see :func:`select_layers`."""
        return select_layers(
            self.modules,
            self.layer_filter,
            self.ignore_layer_names,
            self.include_conv,
            self._is_wanted,
        )

    def roots(self) -> dict[nn.Module, nn.Module]:
        """For each module the model that it is a part of: one that is given alone is its own.

        Of a wrapped model that is the user's own inside, whose mode may be set there.
        """
        return {
            module: unwrap(root)
            for _, root in reversed(_roots(self.modules))
            for module in root.modules()
        }

    def walk(self) -> Iterator[tuple[str, nn.Module]]:
        """All modules with the names that they have as layers."""
        for prefix, root in _roots(self.modules):
            yield from named_modules(root, prefix)

    @property
    def is_chosen(self) -> bool:
        """Whether the user has said which layers to leave out."""
        return bool(
            self.layer_filter is not None or self.ignore_layer_names or not self.include_conv
        )

    def _is_wanted(self, module: nn.Module) -> bool:
        return (
            is_layer(module)
            or (self.track == ALL and is_weighted(module))
            or is_included(module, check_include(self.include))
        )


def select_layers(
    modules: Modules,
    layer_filter: LayerFilter | None = None,
    ignore_layer_names: Sequence[str] = (),
    include_conv: bool = True,
    is_wanted: Wanted = is_layer,
) -> Layers:
    """The layers to track, by name, of those that are wanted at all.

    Raises:
        ArgumentError: There is no model, or no layer in it that can be tracked, or the filter
            returned something else.
    """
    layers = find_layers(modules, is_wanted)
    ignored = [ignore_layer_names] if isinstance(ignore_layer_names, str) else ignore_layer_names
    unknown = [name for name in ignored if name not in layers]
    if unknown:
        logger.warning("ignore_layer_names: there is no layer %s", ", ".join(map(repr, unknown)))
    selected = {
        name: layer
        for name, layer in layers.items()
        if name not in ignored and (include_conv or not is_convolution(adapted(layer)))
    }
    if layer_filter is not None:
        selected = _filtered(selected, layer_filter)
    if not selected:
        raise ArgumentError(
            "layer_filter, ignore_layer_names and include_conv leave no layer to track of: "
            f"{', '.join(layers)}"
        )
    return selected


def find_layers(modules: Modules, is_wanted: Wanted = is_layer) -> Layers:
    """All trackable layers, by their names in ``named_modules()``.

    Wrappers (DataParallel, DistributedDataParallel, ``torch.compile``, activation checkpointing,
    FSDP, peft) add nothing to a name, wherever in the model they are. A bare layer is called
    ``Linear-0``, after its type; modules in a list are called ``Linear-0``, ``Conv2d-1`` and so on
    by position; those in a dictionary by their keys.

    Args:
        modules: The model, or a list or dictionary of modules.
        is_wanted: Tells of a module with a name whether it is one; registered types always are.

    Raises:
        ArgumentError: There is no model, or no layer in it that can be tracked, or the keys give
            two layers one name or a layer none.
    """
    roots = _roots(modules)
    layers: Layers = {}
    found: set[nn.Module] = set()
    for prefix, root in roots:
        for name, layer in _named_layers(root, prefix, is_wanted):
            if layer in found:  # a shared one is one
                continue
            found.add(layer)
            if not name:
                raise ArgumentError(
                    f"modules: the key '' leaves a {type(layer).__name__} without a name; give one"
                )
            if name in layers:
                raise ArgumentError(
                    f"modules: two layers would have the name {name!r}; choose another key for one"
                )
            layers[name] = layer
    if not layers:
        raise _nothing_to_track([root for _, root in roots])
    return layers


def _roots(modules: Any) -> list[tuple[str, nn.Module]]:
    """Each module to search, with the prefix of its layers' names."""
    if isinstance(modules, nn.Module):
        return [(_type_name(modules, 0) if is_layer(unwrap(modules)) else "", modules)]
    if isinstance(modules, Mapping):
        named = list(modules.items())
    elif isinstance(modules, (list, tuple)):
        named = [(_type_name(module, number), module) for number, module in enumerate(modules)]
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
    return named


def _type_name(module: Any, number: int) -> str:
    """The name of a module that has none, after its type."""
    own = adapted(unwrap(module)) if isinstance(module, nn.Module) else module
    return f"{type(own).__name__}-{number}"


def _named_layers(
    root: nn.Module, prefix: str, is_wanted: Wanted
) -> Iterator[tuple[str, nn.Module]]:
    closed = parts_without_passes(root)
    for name, module in named_modules(root, prefix):
        if module in closed or not (is_layer(module) or (name and is_wanted(module))):
            continue
        yield name, module


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
