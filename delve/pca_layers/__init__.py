"""Layers that learn the eigenspace of what passes through them, and project onto it.

Put one behind each layer of a network. In training they change nothing and watch; in evaluation
they keep the leading directions that explain ``threshold`` of the variance, and so show how much
of the network's accuracy depends on those directions.
"""

from delve.pca_layers.convolution import Conv2DPCALayer
from delve.pca_layers.linear import LinearPCALayer
from delve.pca_layers.networks import (
    change_all_pca_layer_thresholds,
    change_all_pca_layer_thresholds_and_inject_random_directions,
    rvs,
)

__all__ = [
    "Conv2DPCALayer",
    "LinearPCALayer",
    "change_all_pca_layer_thresholds",
    "change_all_pca_layer_thresholds_and_inject_random_directions",
    "rvs",
]
