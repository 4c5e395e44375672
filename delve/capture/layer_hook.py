"""The forward hook of one layer: plain, within compiled code, and beside it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from delve.capture import compiled
from delve.capture.masks import Mask
from delve.capture.model_hook import ModelHook
from delve.capture.modes import mode_of
from delve.capture.pass_masks import PassMasks
from delve.capture.root_passes import RootPasses
from delve.numerics.layouts import has_spread_weights

_COMPILER = "torch._dynamo"  # where nobody has imported it, nothing is compiled

Receive = Callable[[nn.Module, Any, str, Mask | None], bool]


class LayerHook(ModelHook):
    """Passes a layer's outputs on.

    Args:
        owner: Whose hook it is.
        name: The layer's name.
        root: The model whose mode the layer's passes have.
        receive: Gets the layer, what it returned, its model's mode and the mask, if one is known;
            tells whether that is data.
        passes: Those of the model; None where they are not counted.
        masks: The mask of the pass under way.
    """

    def __init__(
        self,
        owner: object,
        name: str,
        layer: nn.Module,
        root: nn.Module,
        receive: Receive,
        passes: RootPasses | None,
        masks: PassMasks,
    ) -> None:
        self._owner = owner
        self._name = name
        self._root = root
        self._receive = receive
        self._passes = passes
        self._masks = masks
        self._gate = compiled.Gate(
            lambda output, mode, mask, told: self._pass_on(
                layer, output, mode, masks.of_traced(name, mask, told), True
            )
        )

    def belongs_to(self, owner: object) -> bool:
        """Whether it is one of theirs."""
        return self._owner is owner

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """One call of the layer is over."""
        # The compiler must not look at the flag: it would compile anew each time that it changes.
        if not torch.compiler.is_compiling() and self._masks.is_idle:
            return
        if compiled.is_exporting():  # to where there is no Delve
            return
        mode = mode_of(self._root)
        if torch.compiler.is_compiling():
            self._gate.call(output, mode, *self._masks.traced_for(self._name, inputs))
        elif _COMPILER in sys.modules:
            # Beside a graph break the compiler would otherwise take up Delve's own code.
            compiled.uncompiled(LayerHook.deliver)(self, module, inputs, output, mode)
        else:
            self.deliver(module, inputs, output, mode)

    def deliver(self, layer: nn.Module, inputs: Any, output: Any, mode: str) -> None:
        """Pass on what a call from outside of compiled code returned."""
        self._pass_on(layer, output, mode, self._masks.of(self._name, inputs), False)

    def _pass_on(
        self, layer: nn.Module, output: Any, mode: str, mask: Mask | None, is_compiled: bool
    ) -> None:
        """Pass an output on, and tell the model's passes that the layer saw the one under way."""
        if self._receive(layer, output, mode, mask) and self._passes is not None:
            self._passes.saw(self._name, is_compiled)


compiled.leave_alone(LayerHook.__call__)


def registered(layer: nn.Module, hook: Any) -> RemovableHandle:
    """Hook a layer; before the hooks by which a parallel style makes an output local."""
    return layer.register_forward_hook(hook, prepend=has_spread_weights(layer))


def taken_off(layer: nn.Module, handle: RemovableHandle) -> Any:
    """Take a hook off its layer, and return it; None where it was gone already."""
    hook = layer._forward_hooks.get(handle.id)
    handle.remove()
    return hook
