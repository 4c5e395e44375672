"""Delve's plot writer, and plots from a recorded table. Matplotlib is imported when drawing."""

from delve_plot.combined import CSVandPlottingWriter
from delve_plot.results import (
    plot_scatter_from_results,
    plot_stat,
    plot_stat_level_from_results,
)
from delve_plot.tables import extract_layer_stat
from delve_plot.writer import PlotWriter

__version__ = "1.0.0"

__all__ = [
    "CSVandPlottingWriter",
    "PlotWriter",
    "extract_layer_stat",
    "plot_scatter_from_results",
    "plot_stat",
    "plot_stat_level_from_results",
]
