"""Delve in Keras 3 on PyTorch."""

from delve_keras.callback import DelveCallback
from delve_keras.layers import layers_of

__version__ = "1.0.0"

__all__ = ["DelveCallback", "layers_of"]
