"""Delve's NumPy writer."""

from delve_npy.scalars import has_value
from delve_npy.writer import NPYWriter

__version__ = "1.0.0"

__all__ = ["NPYWriter", "has_value"]
