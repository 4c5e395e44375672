"""Delve's CSV writer."""

from delve_csv.writer import CSVWriter

__version__ = "1.0.0"

__all__ = ["CSVWriter"]
