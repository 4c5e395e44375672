"""What is asked of all PCA layers of a network at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from delve.base.log import get_logger
from delve.numerics.eigenspace import random_directions
from delve.pca_layers.convolution import Conv2DPCALayer
from delve.pca_layers.linear import LinearPCALayer

logger = get_logger("delve.pca_layers")


def change_all_pca_layer_thresholds(
    threshold: float, network: nn.Module, verbose: bool = False
) -> tuple[list[float], list[int], list[int], list[str]]:
    """Set the threshold of every PCA layer of a network.

    Returns:
        For each PCA layer, in the order of ``network.modules()``, after the change: its
        saturation in percent, the dimension of its eigenspace, the dimension of its input space,
        and its name (``Lin-0``, ``Lin-1``, ... and ``Conv-0``, ``Conv-1``, ...).

    Raises:
        ArgumentError: The threshold is not positive.
    """
    layers = _pca_layers(network)
    for layer in layers:
        _change_threshold(layer, threshold, verbose)
    return *_dimensions(layers), _names(layers, linear="Lin")


def change_all_pca_layer_thresholds_and_inject_random_directions(
    threshold: float,
    network: nn.Module,
    verbose: bool = False,
    device: torch.device | str = "cpu",
    include_names: bool = False,
) -> tuple[list[float], list[int], list[int]] | tuple[list[float], list[int], list[int], list[str]]:
    """Set the threshold of every PCA layer, and project onto random directions instead.

    Each layer projects onto as many random orthonormal directions as its eigenspace has at this
    threshold: the control experiment to :func:`change_all_pca_layer_thresholds`, which also takes
    the random directions out again. They are drawn from NumPy's global random state.

    Args:
        threshold: The share of the variance that sets the number of directions.
        network: Any module that contains PCA layers.
        verbose: Whether each change is logged, as INFO to the logger ``delve.pca_layers``.
        device: Without effect: the directions go where the layer is.
        include_names: Whether the names are returned as well.

    Returns:
        For each PCA layer, in the order of ``network.modules()``, after the change: its
        saturation in percent, the dimension of its eigenspace, the dimension of its input space,
        and, if asked for, its name (``Linear-0``, ... and ``Conv-0``, ...).

    Raises:
        ArgumentError: The threshold is not positive.
    """
    del device
    layers = _pca_layers(network)
    for layer in layers:
        _change_threshold(layer, threshold, verbose)
        layer.inject_random_directions()
    dimensions = _dimensions(layers)
    return (*dimensions, _names(layers, linear="Linear")) if include_names else dimensions


def rvs(dim: int = 3) -> np.ndarray:
    """A random orthogonal matrix, (dim x dim), float64, from NumPy's global random state.

    It is uniform over all orthogonal matrices (Haar's measure), those of determinant -1 included.
    Source: Mezzadri 2007, Notices of the AMS 54(5), section 5.
    """
    return random_directions(dim, dim)


def _pca_layers(network: nn.Module) -> list[LinearPCALayer]:
    return [module for module in network.modules() if isinstance(module, LinearPCALayer)]


def _change_threshold(layer: LinearPCALayer, threshold: float, verbose: bool) -> None:
    layer.threshold = threshold
    if verbose:
        logger.info("%s: the threshold is now %g", layer.name, threshold)


def _dimensions(layers: list[LinearPCALayer]) -> tuple[list[float], list[int], list[int]]:
    return (
        [layer.sat for layer in layers],
        [layer.in_dim for layer in layers],
        [layer.fs_dim for layer in layers],
    )


def _names(layers: list[LinearPCALayer], linear: str) -> list[str]:
    """Each kind is counted on its own."""
    names: list[str] = []
    for layer in layers:
        kind = "Conv" if isinstance(layer, Conv2DPCALayer) else linear
        names.append(f"{kind}-{sum(name.startswith(f'{kind}-') for name in names)}")
    return names
