"""The layers of a Keras model, and what their outputs are."""

from __future__ import annotations

from typing import Any

import keras
from torch import Tensor, nn

from delve.capture import samples

# Keras has no public name for what these have in common.
_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_LINEAR = (keras.layers.Dense, keras.layers.EinsumDense)


def layers_of(model: Any) -> dict[str, nn.Module]:
    """The layers with weights of a Keras model, by their paths in it: ``block/dense``.

    Keras keeps its layers where PyTorch looks for none, so they are named one by one, for
    :class:`~delve.SaturationTracker` in a training loop of your own. Left out are embeddings,
    normalisations, and the cells of recurrent layers.

    Args:
        model: A built model of Keras's on PyTorch, or a ``DistributedDataParallel`` around one.

    Example::

        tracker = SaturationTracker("runs/a", "csv", layers_of(model))
    """
    _register()
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    own = f"{model.name}/"
    layers: dict[str, nn.Module] = {}
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, (*_CONVOLUTIONS, *_LINEAR, keras.layers.RNN)):
            path = str(layer.path or layer.name).removeprefix(own)
            name, number = path, 2
            while name in layers:
                name, number = f"{path}_{number}", number + 1
            layers[name] = layer
        elif isinstance(layer, keras.layers.TorchModuleWrapper):
            layers[str(layer.name)] = layer.module
    return layers


def _of_maps(layer: Any, output: Tensor, methods: Any) -> Tensor:
    if layer.data_format == "channels_last":  # Keras's default on every backend
        output = output.movedim(-1, 1)
    maps: Tensor = methods.of_maps(output)
    return maps


def _of_series(_layer: Any, output: Tensor, methods: Any) -> Tensor:
    """(batch x time x features), or the last step alone, as the layer was told."""
    series: Tensor = methods.of_series(output) if output.dim() == 3 else output
    return series


def _register() -> None:
    """Tell Delve what the outputs of Keras's layers are; more than once does no harm."""
    for kind in _CONVOLUTIONS:
        samples.register(kind, _of_maps)
    for kind in _LINEAR:
        samples.register(kind, samples.dispatch(nn.Linear))
    samples.register(keras.layers.RNN, _of_series)
