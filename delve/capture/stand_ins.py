"""Passes without data: what stands for an output while a model is looked at or transformed."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

# Private to torch: where one is missing, what is inside vmap is an output that cannot be used.
_functorch = getattr(torch._C, "_functorch", None)
_is_transformed = getattr(_functorch, "is_functorch_wrapped_tensor", None)
_is_batchedtensor = getattr(_functorch, "is_batchedtensor", None)
_is_functionaltensor = getattr(_functorch, "is_functionaltensor", None)
_unwrapped = getattr(_functorch, "get_unwrapped", None)


def stands_for_data(output: Any) -> bool:
    """Whether the first tensor of an output is no data itself, but stands for what would be.

    So in a pass that looks at a model or transforms it: with fake tensors or on the meta device,
    while ``torch.jit`` or ``torch.fx`` traces, under ``torch.func.functionalize``, and inside
    ``torch.func.vmap``, whose tensors cannot be read.
    """
    if is_proxy(output):
        return True
    tensor = output.data if isinstance(output, PackedSequence) else output
    if not isinstance(tensor, Tensor):
        return False
    return (
        tensor.is_meta
        or _is_fake(tensor)
        or _is_tracing()
        or _is_of_make_fx()
        or _is_transformed_away(tensor)
    )


def is_proxy(output: Any) -> bool:
    """Whether ``torch.fx`` traces the module symbolically."""
    return isinstance(output, _class("torch.fx.proxy", "Proxy"))


def _is_fake(tensor: Tensor) -> bool:
    return isinstance(tensor, _class("torch._subclasses.fake_tensor", "FakeTensor"))


def _class(module: str, name: str) -> Any:
    """A class that isinstance takes; where nobody has imported the module, nothing is of it."""
    return getattr(sys.modules.get(module), name, ())


def _is_tracing() -> bool:
    # The map is there until the trace of a module was compared with a plain call.
    of_module = getattr(getattr(torch.jit, "_trace", None), "_trace_module_map", None)
    return of_module is not None or torch._C._get_tracing_state() is not None


def _is_of_make_fx() -> bool:
    """Whether the pass is recorded as a graph, operator by operator."""
    mode = getattr(sys.modules.get("torch.fx.experimental.proxy_tensor"), "get_proxy_mode", None)
    return mode is not None and mode() is not None


def _is_transformed_away(tensor: Tensor) -> bool:
    """Whether it is of vmap or functionalize, also inside or around another transform."""
    if torch._is_functional_tensor(tensor):
        return True
    if _is_transformed is None or _is_batchedtensor is None or _unwrapped is None:
        return False
    while _is_transformed(tensor):
        if _is_batchedtensor(tensor):
            return True
        if _is_functionaltensor is not None and _is_functionaltensor(tensor):
            return True
        tensor = _unwrapped(tensor)
    return False


def is_recomputing() -> bool:
    """Whether this forward pass is activation checkpointing's second one, inside backward."""
    current = getattr(torch._C, "_current_graph_task_id", None)
    return current is not None and current() != -1
