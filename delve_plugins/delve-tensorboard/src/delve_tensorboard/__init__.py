"""Delve's TensorBoard writer."""

from delve_tensorboard.writer import TensorBoardWriter

__version__ = "1.0.0"

__all__ = ["TensorBoardWriter"]
