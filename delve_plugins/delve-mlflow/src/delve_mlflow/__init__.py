"""Delve's MLflow writer."""

from delve_mlflow.writer import MLflowWriter

__version__ = "1.0.0"

__all__ = ["MLflowWriter"]
