"""All epochs: a statistic of each layer as colour."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from delve_plot.names import short_names
from delve_plot.stats import Scale, label_of, scale_of, title_of
from delve_plot.style import FONT_SIZE, MISSING, fit_page, name_figure, name_rows

_WIDTH = 6.4  # inches, without the names
_COLOUR_BAR = 4.0  # inches at most
_LABEL_WIDTH = 26  # characters
_COLOURS = "viridis"  # rises evenly in brightness, for the colour-blind and in grey


def heatmap_figure(
    values: np.ndarray,
    epochs: Sequence[int],
    layers: Sequence[str],
    *,
    mode: str,
    stat: str = "saturation",
    fontsize: float = FONT_SIZE,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw layer by epoch, with a hatched grey where there is no value.

    Args:
        values: Layers x epochs, NaN where there is no value.
        epochs: In rising order; epochs between them that were not recorded show as missing.
        layers: In forward order.
        mode: Stands in the title.
        stat: The statistic's long name.
        fontsize: Of titles, in points.
        figsize: Width and height in inches; by default as large as the layers need.

    Returns:
        A figure of its own, unknown to pyplot.
    """
    longest = max(map(len, short_names(layers)), default=0)
    page = fit_page(len(layers), longest, _WIDTH, fontsize, figsize)
    figure = Figure(figsize=page.size, layout="constrained")
    axes = figure.subplots()
    grid = _with_all_epochs(values, epochs)
    missing = _draw_cells(figure, axes, grid, epochs, stat, fontsize)
    name_rows([axes], layers, page, fontsize)
    axes.set_xlabel("epoch", fontsize=fontsize)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.tick_params(axis="x", labelsize=0.8 * fontsize)
    if missing:
        patch = Patch(facecolor=MISSING, edgecolor="0.6", hatch="////", label="no value")
        figure.legend(
            handles=[patch], loc="outside lower center", fontsize=0.8 * fontsize, frameon=False
        )
    name_figure(figure, f"{title_of(stat)}, {mode}", layers, fontsize)
    return figure


def _with_all_epochs(values: np.ndarray, epochs: Sequence[int]) -> np.ndarray:
    first, last = epochs[0], epochs[-1]
    grid = np.full((len(values), last - first + 1), np.nan)
    grid[:, np.array(epochs) - first] = values
    return grid


def _draw_cells(
    figure: Figure,
    axes: Axes,
    grid: np.ndarray,
    epochs: Sequence[int],
    stat: str,
    fontsize: float,
) -> bool:
    """Draw the cells and the bar of colours; returns whether a cell has no value."""
    scale = scale_of(stat, grid)
    cells = np.ma.masked_invalid(grid)
    if scale.logarithmic:
        cells = np.ma.clip(cells, scale.low, scale.high)  # a determinant may underflow to 0
    axes.patch.set(facecolor=MISSING, edgecolor="0.6", hatch="////", linewidth=0)
    image = axes.imshow(
        cells,
        aspect="auto",
        cmap=_COLOURS,
        norm=_norm(scale),
        extent=(epochs[0] - 0.5, epochs[-1] + 0.5, len(grid) - 0.5, -0.5),
    )
    height = figure.get_size_inches()[1]
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, _COLOUR_BAR / height), anchor=(0, 1))
    bar.set_label(textwrap.fill(label_of(stat), _LABEL_WIDTH), fontsize=0.9 * fontsize)
    bar.ax.tick_params(labelsize=0.8 * fontsize)
    return bool(np.ma.getmaskarray(cells).any())


def _norm(scale: Scale) -> Normalize:
    return (LogNorm if scale.logarithmic else Normalize)(scale.low, scale.high)
