"""All epochs: a statistic of each layer as colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.markers import TICKUP
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from delve_plot.cells import Cells, cells_of
from delve_plot.legend import draw_legend
from delve_plot.lettering import wrapped
from delve_plot.names import short_names
from delve_plot.shown_figure import ShownFigure
from delve_plot.stats import Scale, label_of, scale_of, title_of
from delve_plot.style import FONT_SIZE, MISSING, fit_page, name_figure, name_rows

_WIDTH = 6.4  # inches, without the names
_COLOUR_BAR = 4.0  # inches at most
_BAR_LABEL = 0.62  # of the figure's height, at most
_FEW_EPOCHS = 100  # up to here a missing one is wide enough to be seen
_ZERO = "white"  # brighter than all colours, in grey too: a determinant may underflow to 0
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
    steps: Mapping[int, int] | None = None,
) -> Figure:
    """Draw layer by epoch, with a hatched grey where there is no value.

    A 0 is white where the scale is logarithmic and has no place for it.

    Thousands of epochs share columns, which show means. A missing epoch would vanish there, so
    with many epochs a mark on the upper edge stands for each that lacks a value.

    Args:
        values: Layers x epochs, NaN where there is no value.
        epochs: In rising order; epochs between them that were not recorded show as missing.
        layers: In forward order.
        mode: Stands in the title.
        stat: The statistic's long name.
        fontsize: Of titles, in points.
        figsize: Width and height in inches; by default as large as the layers need.
        steps: The training steps of the epochs; the axis shows them in the place of these. Columns
            stand for rows, so it is as even as the steps are.

    Returns:
        A figure of its own, unknown to pyplot.
    """
    longest = max(map(len, short_names(layers)), default=0)
    page = fit_page(len(layers), longest, _WIDTH, fontsize, figsize)
    figure = ShownFigure(figsize=page.size, layout="constrained")
    axes = figure.subplots()
    cells = cells_of(values, epochs)
    scale = scale_of(stat, cells.values)
    _draw_cells(figure, axes, cells, stat, scale, fontsize)
    name_rows([axes], layers, page, fontsize)
    _name_epochs(axes, cells, fontsize, steps or {})
    if signs := [*_signs_of_zeros(cells, scale), *_signs_of_missing(axes, cells)]:
        draw_legend(figure, signs, fontsize, loc="outside lower center")
    name_figure(figure, f"{title_of(stat)}, {mode}", layers, fontsize)
    return figure


def _draw_cells(
    figure: Figure, axes: Axes, cells: Cells, stat: str, scale: Scale, fontsize: float
) -> None:
    """Draw the cells and the bar of colours."""
    values = cells.values
    if scale.logarithmic:  # which would take a 0 for a missing value
        values = np.where(values < scale.low, scale.low / 2, values)
    axes.patch.set(facecolor=MISSING, edgecolor="0.6", hatch="////", linewidth=0)
    image = axes.imshow(
        np.ma.masked_invalid(values),
        aspect="auto",
        interpolation="nearest",  # any other lets missing cells grow over their neighbours
        cmap=colormaps[_COLOURS].with_extremes(under=_ZERO),
        norm=_norm(scale),
        extent=cells.extent,
    )
    height = figure.get_size_inches()[1]
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, _COLOUR_BAR / height), anchor=(0, 1))
    size = 0.9 * fontsize
    bar.set_label(wrapped(label_of(stat), size, _BAR_LABEL * min(_COLOUR_BAR, height)), size=size)
    bar.ax.tick_params(labelsize=0.8 * fontsize)


def _name_epochs(axes: Axes, cells: Cells, fontsize: float, steps: Mapping[int, int]) -> None:
    axes.set_xlim(cells.first - 0.5, cells.last + 0.5)
    column = f" (a column is the mean of {cells.step})" if cells.step > 1 else ""
    axes.set_xlabel(f"{'step' if steps else 'epoch'}{column}", fontsize=fontsize)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.tick_params(axis="x", labelsize=0.8 * fontsize)
    if steps:
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda epoch, _: str(steps.get(round(epoch), "")))
        )


def _signs_of_zeros(cells: Cells, scale: Scale) -> list[Artist]:
    """What explains the colour of what a logarithmic scale has no place for."""
    below = scale.logarithmic and (cells.values < scale.low).any()
    return [Patch(facecolor=_ZERO, edgecolor="0.6", label="0")] if below else []


def _signs_of_missing(axes: Axes, cells: Cells) -> list[Artist]:
    """Mark epochs that lack a value where there are many, and return what explains the signs."""
    signs: list[Artist] = []
    if np.isnan(cells.values).any():
        signs.append(Patch(facecolor=MISSING, edgecolor="0.6", hatch="////", label="no value"))
    epochs = cells.last - cells.first + 1
    if epochs > _FEW_EPOCHS and cells.lacking:
        signs += axes.plot(
            cells.marks,
            np.ones(len(cells.marks)),
            transform=axes.get_xaxis_transform(),
            color="0.2",
            marker=TICKUP,
            markersize=5,
            linestyle="none",
            clip_on=False,
            label=f"values missing in {cells.lacking} of {epochs} epochs",
        )
    return signs


def _norm(scale: Scale) -> Normalize:
    return (LogNorm if scale.logarithmic else Normalize)(scale.low, scale.high)
