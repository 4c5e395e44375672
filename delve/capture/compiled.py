"""The way from a compiled graph back to Python, without breaking the graph.

A hook that ran as ordinary code inside ``torch.compile`` would break the graph at each layer, and
fail under ``fullgraph=True``. So a compiled hook calls one operator that the compiler does not
look into; the operator finds the Python function by its number, which it reads from a tensor: a
plain number would be a part of the graph, and each layer would have to be compiled anew.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from delve.capture.activations import first_tensor

_F = TypeVar("_F", bound=Callable[..., Any])

# Keeps the compiler out of a function. The first use imports the compiler, which takes as long as
# importing torch.
uncompiled: Callable[[_F], _F] = functools.cache(torch.compiler.disable)

# Newer than the oldest torch that is supported.
is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)
# It has no types.
is_tracing: Callable[[], bool] = getattr(torch.jit, "is_tracing", lambda: False)


def leave_alone(function: Any) -> None:
    """Keep the compiler from taking up a function by itself; within others it still does.

    Beside a graph break it takes up each function that is called, and what is called from there.
    ``torch.compiler.disable`` would break the graphs of the functions around it too.
    """
    evaluation = torch._C._dynamo.eval_frame
    if (skip := getattr(evaluation, "skip_code", None)) is not None:  # before torch 2.6
        skip(function.__code__)
    elif (strategy := getattr(evaluation, "_FrameExecStrategy", None)) is not None:
        action = evaluation._FrameAction
        evaluation.set_code_exec_strategy(function.__code__, strategy(action.SKIP, action.DEFAULT))


_numbers = itertools.count()
_gates: weakref.WeakValueDictionary[int, Gate] = weakref.WeakValueDictionary()


class Gate:
    """A Python function that compiled code can call with a tensor, a mode and a mask.

    Args:
        receive: Gets the tensor, ``train`` or ``eval``, and what :meth:`call` got of the mask.
    """

    def __init__(self, receive: Callable[[Any, str, Tensor | None, int], None]) -> None:
        _register()
        self.receive = receive
        number = next(_numbers)
        # The compiler drops operators without effect: this one is said to write here. Reading the
        # number from another device would make the program wait.
        self._token = torch.tensor(number, device="cpu")
        _gates[number] = self

    def call(self, output: Any, mode: str, mask: Tensor | None, told: int) -> None:
        """Pass on the first tensor of a layer's output; there may be none.

        A mask goes with each output: the compiler keeps no order between calls of the operator.

        A nested tensor is no argument that an operator of one's own can have: it is passed over.
        """
        tensor = first_tensor(output)
        if isinstance(tensor, Tensor) and not tensor.is_nested:
            torch.ops.delve.receive(self._token, tensor.detach(), mask, told, mode == "train")


@functools.cache
def _register() -> None:
    """Make ``torch.ops.delve.receive``, when a layer is hooked: an import is to cost little."""

    # torch 2.4 cannot read the schema off annotations that are strings, as this module's are.
    @torch.library.custom_op(
        "delve::receive",
        mutates_args=("token",),
        schema="(Tensor(a!) token, Tensor output, Tensor? mask, int told, bool training) -> ()",
    )
    def receive(
        token: Tensor, output: Tensor, mask: Tensor | None, told: int, training: bool
    ) -> None:
        gate = _gates.get(int(token))
        if gate is not None:
            gate.receive(output, "train" if training else "eval", mask, told)

    @receive.register_fake
    def receive_nothing(
        token: Tensor, output: Tensor, mask: Tensor | None, told: int, training: bool
    ) -> None:
        """What the compiler runs in its place while it traces."""
