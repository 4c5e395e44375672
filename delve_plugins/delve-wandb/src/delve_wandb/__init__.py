"""Delve's Weights & Biases writer."""

from delve_wandb.writer import WandbWriter

__version__ = "1.0.0"

__all__ = ["WandbWriter"]
