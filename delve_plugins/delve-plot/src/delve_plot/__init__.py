"""Delve's plot writer, figures to draw yourself, and plots from a recorded table.

Public is what stands here. Matplotlib is imported when a figure is drawn, or one of the functions
that draw is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from delve_plot.combined import CSVandPlottingWriter
from delve_plot.results import (
    plot_scatter_from_results,
    plot_stat,
    plot_stat_level_from_results,
)
from delve_plot.settings import Style, drawn_in
from delve_plot.tables import extract_layer_stat
from delve_plot.writer import PlotWriter

if TYPE_CHECKING:
    from delve_plot.all_epochs import recorded_heatmap
    from delve_plot.figures import rgba_pixels, saturation_figure, write_png
    from delve_plot.heatmap import heatmap_figure
    from delve_plot.loaded import layers_figure, runs_figure
    from delve_plot.paced import PacedSaturation
    from delve_plot.scatter import scatter_figure

__version__ = "1.0.0"

__all__ = [
    "CSVandPlottingWriter",
    "PacedSaturation",
    "PlotWriter",
    "Style",
    "drawn_in",
    "extract_layer_stat",
    "heatmap_figure",
    "layers_figure",
    "plot_scatter_from_results",
    "plot_stat",
    "plot_stat_level_from_results",
    "recorded_heatmap",
    "rgba_pixels",
    "runs_figure",
    "saturation_figure",
    "scatter_figure",
    "write_png",
]

# The modules that import Matplotlib.
_DRAWN_BY = {
    "PacedSaturation": "paced",
    "heatmap_figure": "heatmap",
    "layers_figure": "loaded",
    "recorded_heatmap": "all_epochs",
    "rgba_pixels": "figures",
    "runs_figure": "loaded",
    "saturation_figure": "figures",
    "scatter_figure": "scatter",
    "write_png": "figures",
}


def __getattr__(name: str) -> Any:
    if name not in _DRAWN_BY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_DRAWN_BY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_DRAWN_BY})
