"""Memory for what is needed for a moment: one piece a thread on the CPU, for all layers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.held: dict[torch.dtype, Tensor] = {}


_SCRATCH = _Scratch()


def scratch(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of any content, until this thread asks for the next of its dtype.

    Memory that the CPU takes anew costs more than what is done with it. Other devices keep theirs,
    and know which stream uses it.
    """
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    elements = prod(shape)
    held = _SCRATCH.held.get(dtype)
    if held is None or len(held) < elements:
        held = _SCRATCH.held[dtype] = torch.empty(elements, dtype=dtype, device=device)
    return held[:elements].view(tuple(shape))
