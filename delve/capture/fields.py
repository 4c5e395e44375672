"""What the tracked layers see of an image, by the names that they are tracked under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from delve.capture.receptive_field import receptive_field
from delve.errors import ArgumentError


def fields_of(
    model: Any, layers: Mapping[str, nn.Module], shape: Sequence[int]
) -> dict[str, float]:
    """By tracked layer, the share of the image that its input sees.

    Args:
        model: What the tracker was given to track.
        layers: The tracked modules by name.
        shape: Of one image, without the batch.

    Raises:
        ArgumentError: It is no single model, or cannot be called with such an image.
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(
            "input_shape is for a single model, given as modules; delve.receptive_field(model, "
            "shape) tells the same of each"
        )
    shares = receptive_field(model, shape).shares
    inside = {id(module): name for name, module in model.named_modules()}
    return {
        name: shares[inner]
        for name, layer in layers.items()
        if (inner := inside.get(id(layer), "")) in shares
    }
