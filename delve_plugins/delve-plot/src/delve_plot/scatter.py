"""One epoch: the embedded samples of each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, FuncFormatter

from delve_plot.names import short_names
from delve_plot.panels import LINE, UNDER_NAME, Grid, Margins, fit_grid, size_for
from delve_plot.shown_figure import ShownFigure
from delve_plot.style import COLOURS, EDGE, FONT_SIZE, name_figure, plain, told_when

_NUMBER_SIZE = 0.6  # of the font's size
_PLAIN = range(-2, 4)  # powers of ten of numbers that are short as they are
_TITLE_LINES = 2  # that a figure has room for, unless its title has more


def scatter_figure(
    samples: Mapping[str, np.ndarray],
    *,
    mode: str = "train",
    epoch: int | None = None,
    step: int | None = None,
    fontsize: float = FONT_SIZE,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw each layer's samples in the plane of its two leading eigenvectors.

    Args:
        samples: By layer in forward order, (samples x 2) each.
        mode: Stands in the title, and chooses the colour.
        epoch: Stands in the title.
        step: The training step, which stands there in its place.
        fontsize: Of titles, in points.
        figsize: Width and height in inches; by default as large as the layers need.

    Returns:
        A figure of its own, unknown to pyplot; panels stand in forward order, line by line.
    """
    layers = list(samples)
    size = figsize or size_for(len(layers), _margins(_TITLE_LINES, fontsize), fontsize)
    figure = ShownFigure(figsize=size)
    told = ", ".join(filter(None, ["Embedded samples", mode, told_when(epoch, step)]))
    title = name_figure(figure, told, layers, fontsize)
    title.set(y=1 - EDGE / size[1], verticalalignment="top")
    figure.supxlabel("first principal component", y=EDGE / size[1], fontsize=fontsize)
    figure.supylabel("second principal component", x=EDGE / size[0], fontsize=fontsize)
    margins = _margins(title.get_text().count("\n") + 1, fontsize)
    grid = fit_grid(short_names(layers), size, margins, fontsize)
    panels = _draw_panels(figure, grid, fontsize)
    for axes, layer in zip(panels, layers, strict=False):
        _draw_samples(axes, samples[layer], COLOURS[mode], _NUMBER_SIZE * fontsize)
    return figure


def _margins(title_lines: int, fontsize: float) -> Margins:
    line = LINE * fontsize / 72
    beside = EDGE + line
    return Margins(left=beside, top=2 * EDGE + 1.1 * title_lines * line, bottom=beside)


def _draw_panels(figure: Figure, grid: Grid, fontsize: float) -> list[Axes]:
    """Empty panels with their names; placed by hand, as Matplotlib's layout takes 10 s for 200."""
    panels = figure.subplots(grid.lines, grid.columns, squeeze=False, gridspec_kw=grid.places)
    used = list(panels.ravel())[: len(grid.names.texts)]
    for axes, name in zip(used, grid.names.texts, strict=True):
        plain(axes.set_title(name, fontsize=grid.names.size, pad=72 * UNDER_NAME))
        axes.tick_params(labelsize=_NUMBER_SIZE * fontsize)
        if not grid.numbered:
            axes.set(xticks=[], yticks=[])
    for axes in panels.ravel()[len(used) :]:
        axes.set_visible(False)
    return used


def _draw_samples(axes: Axes, points: np.ndarray, colour: str, size: float) -> None:
    """Draw a layer's samples; letters are of this size."""
    finite = points[np.isfinite(points).all(axis=1)]
    axes.spines[["top", "right"]].set_visible(False)
    if not len(finite):
        text = "not finite" if len(points) else "no samples"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, size=size, ha="center", va="center")
        axes.set(xticks=[], yticks=[])  # they would number what is not there
        return
    axes.plot(
        finite[:, 0],
        finite[:, 1],
        color=colour,
        marker=".",
        markersize=3,
        markeredgewidth=0,
        alpha=0.5,
        linestyle="none",
    )
    axes.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.6, zorder=0)
    axes.set_aspect("equal", adjustable="datalim")
    if len(axes.get_xticks()):
        axes.locator_params(nbins=3)
        _number(axes, float(np.abs(finite).max()), size)


def _number(axes: Axes, largest: float, size: float) -> None:
    """Give both axes short numbers, in units of a power of ten that is told inside the panel.

    Matplotlib writes it outside, where the panel's name and its neighbours are.
    """
    if largest == 0:
        axes.set(xlim=(-1, 1), ylim=(-1, 1), xticks=[0], yticks=[0], aspect="auto")
        return
    exponent = math.floor(math.log10(largest))
    if exponent in _PLAIN:
        return

    def short(value: float, place: object = None) -> str:
        del place
        return Formatter.fix_minus(f"{round(value / 10.0**exponent, 3) + 0.0:g}")

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(short))
    axes.text(
        *(0.98, 0.02), f"1e{exponent}", transform=axes.transAxes, size=size, ha="right", va="bottom"
    )
