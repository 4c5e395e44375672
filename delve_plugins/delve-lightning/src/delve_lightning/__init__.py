"""Delve in Lightning's Trainer, imported as ``lightning`` or as ``pytorch_lightning``."""

from delve_lightning.callback import DelveCallback

__version__ = "1.0.0"

__all__ = ["DelveCallback"]
