"""The path by which the first builds of 1.0 named the registry of layer types."""

from delve.capture.activations import samples

__all__ = ["samples"]
