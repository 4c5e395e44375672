"""Tensors that are ordinary ones, whatever mode the model is in that they come from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch.utils import _python_dispatch

P = ParamSpec("P")
T = TypeVar("T")


# Private to torch.
_count_modes: Callable[[], int] = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)
_without_modes: Any = getattr(_python_dispatch, "_disable_current_modes", contextlib.nullcontext)


def ordinarily(act: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function outside of inference mode and of what gradients are recorded for.

    It is outside of dispatch modes too: that of selective checkpointing keeps what operations of a
    kind give, one after the other, and would give the model Delve's products in its recomputation.

    Only what is on is switched off: that takes a third of the time of a small batch.
    """
    if _count_modes():
        with _without_modes():
            return _without_gradients(act, *arguments, **named)
    return _without_gradients(act, *arguments, **named)


def _without_gradients(act: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.no_grad():
            return act(*arguments, **named)
    if not torch.is_grad_enabled():
        return act(*arguments, **named)
    torch.set_grad_enabled(False)
    try:
        return act(*arguments, **named)
    finally:
        torch.set_grad_enabled(True)
