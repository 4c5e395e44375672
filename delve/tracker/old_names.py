"""Methods of the tracker that delve 0.1 has, and that the user of today's does not need."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from delve.capture.layers import Layers, Modules, find_layers
from delve.tracker.passes import Passes


class OldNames(Passes):
    """The methods of delve 0.1 by which a user found and tracked layers."""

    def get_layers_recursive(self, modules: Modules) -> Layers:
        """All trackable layers by name; a name that delve 0.1 has."""
        return find_layers(modules)

    def get_layer_from_submodule(
        self, submodule: nn.Module, layers: Layers, name_prefix: str = ""
    ) -> Layers:
        """Add the trackable layers of one module to ``layers``; a name that delve 0.1 has."""
        layers.update(find_layers({name_prefix: submodule} if name_prefix else submodule))
        return layers

    def register_forward_hooks(self, layer: nn.Module, stats: Sequence[str] = ()) -> None:
        """Track one more layer, named by its type and number; a name that delve 0.1 has.

        Args:
            layer: A layer of a type that is tracked.
            stats: Without effect: the statistics are those of the tracker.
        """
        self._check_open()
        del stats
        for found in find_layers(layer).values():
            taken = self._hooks.layers
            names = (f"{type(found).__name__}-{n}" for n in itertools.count(len(taken)))
            self._hooks.track(next(name for name in names if name not in taken), found)
