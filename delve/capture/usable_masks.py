"""Which masks of a call's arguments tell what is real."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from delve.capture.stand_ins import stands_for_data


def usable(
    mask: Any, inputs: Tensor, is_padding: bool = False, is_time_first: bool = False
) -> Tensor | None:
    """What is true of real positions, (batch x time) of the inputs; None where that is not known.

    A mask of more than two dimensions, or to be added to scores, does not tell. One that is longer
    than the inputs is of what is cached too.
    """
    if not isinstance(mask, Tensor) or mask.dim() != 2 or inputs.dim() < 2:
        return None
    if mask.is_complex() or mask.is_nested or inputs.is_nested:
        return None
    if mask.is_floating_point() and (is_padding or not _is_of_zeros_and_ones(mask)):
        return None
    if is_padding and mask.dtype != torch.bool:
        return None
    batch, time = (1, 0) if is_time_first else (0, 1)
    if mask.shape[0] != inputs.shape[batch] or mask.shape[1] < inputs.shape[time]:
        return None
    if mask.shape[1] > inputs.shape[time]:
        mask = mask[:, -inputs.shape[time] :]
    return torch.logical_not(mask) if is_padding else mask


def _is_of_zeros_and_ones(mask: Tensor) -> bool:
    """Whether floats say what is real, as those do that peft makes of a mask for its prompts.

    A mask to be added to scores is of zeros where nothing is masked: so each sequence needs a one.
    """
    if torch.compiler.is_compiling() or stands_for_data(mask):
        return False
    is_one = mask == 1
    return bool(((mask == 0) | is_one).all() & is_one.any(dim=1).all())
