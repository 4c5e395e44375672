"""What is said of layers whose outputs cannot be used, or never came: each thing once."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any

from torch import nn

from delve.base.log import get_logger
from delve.capture.outputs import describe
from delve.records import LayerKey

logger = get_logger("delve.capture.hooks")  # one name for all that is said of the hooks


class Remarks:
    """Says it, unless it was said before."""

    def __init__(self) -> None:
        self._unseen: set[str] = set()
        self._odd: set[tuple[str, str]] = set()  # the layer, and what was odd

    def odd_output(self, key: LayerKey, layer: nn.Module, output: Any, error: Exception) -> None:
        """A layer's output is no sample, so that it is left out of the epoch.

        Args:
            key: The mode of the pass, and the layer's name.
            layer: The layer.
            output: What it returned.
            error: What came of it.
        """
        mode, name = key
        reason = traceback.format_exception_only(error)[0].partition("\n")[0]
        what = f"{describe(output)}, which cannot be turned into samples ({reason})"
        if (name, what) not in self._odd:
            self._odd.add((name, what))
            logger.warning(
                "layer %s (%s) gave %s; it is left out of this epoch (%s)",
                name,
                type(layer).__name__,
                what,
                mode,
            )
        logger.debug("what went wrong in layer %s:", name, exc_info=error)

    def unseen(self, layers: Iterable[str]) -> None:
        """The hooks of these layers never fired, while others did."""
        new = [name for name in layers if name not in self._unseen]
        if not new:
            return
        self._unseen.update(new)
        logger.warning(
            "these layers saw nothing in this epoch: %s. Were they not called, called without "
            "their hooks (in a compiled model that does not guard its modules, in one that was "
            "compiled ahead of time, in a CUDA graph, or because another module uses their "
            "weights directly, as nn.TransformerEncoder does in evaluation), called inside "
            "torch.func.vmap alone, or is their model a copy of the tracked one?",
            ", ".join(new),
        )
