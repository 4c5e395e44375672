"""The path by which the first builds of 1.0 named the reading of arrays."""

from delve.files.array_file import read_array

__all__ = ["read_array"]
