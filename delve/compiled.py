"""The way from a compiled graph back to Python, without breaking the graph.

A hook that ran as ordinary code inside ``torch.compile`` would break the graph at each layer, and
fail under ``fullgraph=True``. So a compiled hook calls one operator that the compiler does not
look into; the operator finds the Python function by its number.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from delve.activations import first_tensor

_numbers = itertools.count()
_gates: weakref.WeakValueDictionary[int, Gate] = weakref.WeakValueDictionary()


class Gate:
    """A Python function that compiled code can call with a tensor and a mode.

    Args:
        receive: Gets the tensor and ``train`` or ``eval``.
    """

    def __init__(self, receive: Callable[[Any, str], None]) -> None:
        self.receive = receive
        self._number = next(_numbers)
        # The compiler drops operators without effect: this one is said to write here.
        self._token = torch.zeros(())
        _gates[self._number] = self

    def call(self, output: Any, mode: str) -> None:
        """Pass on the first tensor of a layer's output; there may be none."""
        tensor = first_tensor(output)
        if isinstance(tensor, Tensor):
            _receive(self._token, tensor.detach(), self._number, mode == "train")


@torch.library.custom_op("delve::receive", mutates_args=("token",))
def _receive(token: Tensor, output: Tensor, number: int, training: bool) -> None:
    gate = _gates.get(number)
    if gate is not None:
        gate.receive(output, "train" if training else "eval")


@_receive.register_fake
def _receive_nothing(token: Tensor, output: Tensor, number: int, training: bool) -> None:
    """What the compiler runs in its place while it traces."""
