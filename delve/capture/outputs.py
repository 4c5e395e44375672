"""Outputs of any kind, of the user's own objects too: what is in them, and how to name them."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from delve.capture.activations import first_tensor


def tensor_in(output: Any) -> Any:
    """The first tensor; None where an object of the user's does not let itself be looked into."""
    try:
        return first_tensor(output)
    except Exception:  # of a property or an iterator, which may raise anything
        return None


def describe(output: Any) -> str:
    """An output in words, for a message."""
    tensor = tensor_in(output)
    if isinstance(tensor, PackedSequence):
        tensor = tensor.data
    if not isinstance(tensor, Tensor):
        return f"a {type(output).__name__}"
    return f"{str(tensor.dtype).removeprefix('torch.')} of {_shape(tensor)}"


def _shape(tensor: Tensor) -> str:
    try:
        return f"shape {tuple(tensor.shape)}"
    except RuntimeError:  # of a nested tensor: its sequences differ
        return "more than one shape"
