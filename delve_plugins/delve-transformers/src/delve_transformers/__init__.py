"""Delve in the Trainer of Transformers."""

from delve_transformers.callback import DelveCallback

__version__ = "1.0.0"

__all__ = ["DelveCallback"]
