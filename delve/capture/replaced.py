"""Layers that were replaced, added or taken away while the model is tracked."""

from __future__ import annotations

from delve.base.log import get_logger
from delve.capture.hooks import LayerHooks
from delve.capture.layers import Layers, Selection
from delve.errors import ArgumentError
from delve.records import shortened

logger = get_logger(__name__)


class LayerWatch:
    """Keeps the hooks on the layers that the model has now: pruning, growing, merging, quantising.

    Args:
        selection: Which layers the user wants.
        layers: Those that there were when the hooks were set.
        hooks: The hooks.
    """

    def __init__(self, selection: Selection, layers: Layers, hooks: LayerHooks) -> None:
        self._selection = selection
        self._layers = dict(layers)
        self._hooks = hooks

    def look_again(self) -> None:
        """Hook what is new under its name, and let go of what is no longer there."""
        try:
            layers = self._selection.layers()
        except ArgumentError as error:
            if self._layers:
                logger.warning("the model has no layer left that can be tracked: %s", error)
            layers = {}
        if not _is_same(layers, self._layers):
            self._change_to(layers)

    def _change_to(self, layers: Layers) -> None:
        tracked = self._hooks.modules
        gone = [
            name
            for name, layer in self._layers.items()
            if layers.get(name) is not layer and tracked.get(name) is layer
        ]
        for name in gone:
            self._hooks.untrack(name)
        roots = self._selection.roots()
        for name, layer in layers.items():
            self._hooks.track(name, layer, roots.get(layer))
        self._hooks.follow(roots.values())
        self._layers = layers
        new = [name for name in layers if name not in tracked]
        replaced = [name for name in gone if name in layers]
        lost = [name for name in gone if name not in layers]
        changes = {"replaced": replaced, "new": new, "no longer there": lost}
        logger.info(
            "the model has changed; layers that are %s",
            "; ".join(f"{what}: {shortened(names)}" for what, names in changes.items() if names),
        )


def _is_same(layers: Layers, others: Layers) -> bool:
    return layers.keys() == others.keys() and all(
        others[name] is layer for name, layer in layers.items()
    )
