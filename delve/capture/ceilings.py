"""In how many directions a layer's outputs can vary, by the shape of its weight alone."""

from __future__ import annotations

import math

from torch import nn

from delve.capture.activations import CONVOLUTIONS, SamplingMethods
from delve.capture.layer_types import dimensions_of
from delve.capture.wrappers import adapted

_LINEAR_METHODS = ("channelwise", "mean")  # of feature maps: no more directions than positions have


def ceiling_of(layer: nn.Module, methods: SamplingMethods) -> int | None:
    """The smaller of a layer's inputs and outputs; None where its weight does not bound it.

    Inputs of a convolution are those of all positions of its kernel; each of its groups has its
    own.
    """
    layer = adapted(layer)
    if isinstance(layer, CONVOLUTIONS):
        if methods.conv not in _LINEAR_METHODS:
            return None
        taken = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
        return int(layer.groups * min(layer.out_channels // layer.groups, taken))
    inputs, outputs = (vars(layer).get(name) for name in ("in_features", "out_features"))
    if isinstance(inputs, int) and isinstance(outputs, int):
        return min(inputs, outputs)
    weight = layer._parameters.get("weight")
    if weight is None or dimensions_of(weight) != 2:
        return None
    return int(min(getattr(weight, "ds_shape", weight.shape)))
