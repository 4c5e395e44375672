"""One epoch: a statistic of each layer, training and evaluation side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from delve.records import MODES, Metric, forward_order
from delve_plot.error_bars import draw_error_bars, error_bars
from delve_plot.legend import draw_legend_below
from delve_plot.lettering import missing_glyphs_as_boxes
from delve_plot.names import short_names
from delve_plot.shown_figure import ShownFigure
from delve_plot.signs import NEUTRAL, draw_signs, explained, with_place
from delve_plot.stats import Scale, figure_of, is_share, label_of, rank_of, scale_of, title_of
from delve_plot.style import (
    COLOURS,
    FONT_SIZE,
    GUIDE,
    MARKERS,
    Page,
    across,
    fit_page,
    name_figure,
    name_rows,
    told_when,
)

DPI = 100.0  # dots per inch, on a screen
_PANEL = 3.2  # inches
_NARROWEST = 4.6  # inches: room for the title
_MANY_ROWS = 60  # from there on the upper edge has numbers too


def saturation_figure(
    values: Mapping[Metric, float],
    layers: Sequence[str] = (),
    *,
    stat: str = "saturation",
    epoch: int | None = None,
    step: int | None = None,
    primary_metric: tuple[str, float] | None = None,
    fontsize: float = FONT_SIZE,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw one statistic of each layer, with a panel for each mode that has values.

    Args:
        values: The layer metrics of one epoch; those of other statistics are passed over.
        layers: The layers in forward order; those without a value are left out, and those that
            are not named here come last.
        stat: The statistic's long name; ``spectrum`` shows all eigenvalues that there are.
        epoch: Stands in the title.
        step: The training step, which stands there in its place.
        primary_metric: Name and value of a number to compare with, such as the test accuracy.
        fontsize: Of titles, in points.
        figsize: Width and height in inches; by default as large as the layers need.

    Returns:
        A figure of its own, unknown to pyplot.
    """
    shown = {metric: value for metric, value in values.items() if figure_of(metric.stat) == stat}
    rows = forward_order(layers, [metric.layer for metric in shown])
    modes = [mode for mode in MODES if any(metric.mode == mode for metric in shown)] or ["train"]
    longest = max(map(len, short_names(rows)), default=0)
    page = fit_page(len(rows), longest, max(_PANEL * len(modes), _NARROWEST), fontsize, figsize)
    figure = ShownFigure(figsize=page.size, layout="constrained")
    panels = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    scale = scale_of(stat, np.array(list(shown.values()), dtype=np.float64))
    for axes, mode in zip(panels, modes, strict=True):
        _draw_panel(axes, _series(shown, rows, mode), mode, scale, page)
        bars = error_bars(shown, stat, rows, mode)
        draw_error_bars(axes, bars, COLOURS[mode], _dot_size(page))
        axes.tick_params(axis="x", labelsize=0.8 * fontsize)
        if len(modes) > 1:
            axes.set_title(mode, loc="left", fontsize=fontsize, color=COLOURS[mode])
    figure.supxlabel(across(figure, label_of(stat), fontsize), fontsize=fontsize)
    name_rows(panels, rows, page, fontsize)
    title = name_figure(figure, _title(stat, modes, told_when(epoch, step)), rows, fontsize)
    primary = [_draw_primary_metric(panels, stat, *primary_metric)] if primary_metric else []
    lines = [line for axes in panels for line in axes.get_lines()]
    if signs := [*explained(lines), *primary]:
        draw_legend_below(title, figure, signs, fontsize)
    return figure


def rgba_pixels(figure: Figure, dpi: float = DPI) -> np.ndarray:
    """A figure as pixels, (height x width x 4) uint8: red, green, blue, opacity."""
    canvas = _canvas(figure, dpi)
    with missing_glyphs_as_boxes():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def write_png(
    figure: Figure, file: BinaryIO, dpi: float = DPI, texts: Mapping[str, str] | None = None
) -> None:
    """Write a figure into an open file, as a PNG with opacity.

    Args:
        figure: The figure.
        file: Where to, open for writing bytes.
        dpi: Dots per inch.
        texts: What to write into the figure's header, by PNG's keywords.
    """
    with missing_glyphs_as_boxes():
        _canvas(figure, dpi).print_png(file, metadata=texts)


def _canvas(figure: Figure, dpi: float) -> Any:
    """What draws a figure without pyplot; once, where ``Figure.savefig`` draws twice."""
    figure.set_dpi(dpi)
    return FigureCanvasAgg(figure)


def _series(shown: Mapping[Metric, float], rows: Sequence[str], mode: str) -> list[np.ndarray]:
    """The values in the order of the rows: one array, or one for each eigenvalue."""
    places = {layer: place for place, layer in enumerate(rows)}
    ranks: dict[int, np.ndarray] = {}
    for metric, value in shown.items():
        if metric.mode == mode and rank_of(metric.stat):
            series = ranks.setdefault(rank_of(metric.stat), np.full(len(rows), np.nan))
            # Not finite is told from missing: it is drawn.
            series[places[metric.layer]] = value if np.isfinite(value) else np.inf
    return [ranks[rank] for rank in sorted(ranks)]


def _draw_panel(
    axes: Axes, series: Sequence[np.ndarray], mode: str, scale: Scale, page: Page
) -> None:
    left, right = scale.limits
    if scale.logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(left, right)
    rows = len(series[0]) if series else 0
    axes.hlines(np.arange(rows), left, right, colors=GUIDE, linewidth=0.6, zorder=0)
    axes.grid(axis="x", color=GUIDE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="x", top=rows > _MANY_ROWS, labeltop=rows > _MANY_ROWS)
    size = _dot_size(page)
    for rank, values in enumerate(series):
        _draw_series(axes, values, rank, mode, size)


def _dot_size(page: Page) -> float:
    return min(5.5, 0.55 * page.name_size)


def _draw_series(axes: Axes, values: np.ndarray, rank: int, mode: str, size: float) -> None:
    """Draw dots and a line; at the left edge, what has no place on the axis."""
    left, _ = axes.get_xlim()
    rows = np.arange(len(values))
    (line,) = axes.plot(
        with_place(values, left),
        rows,
        color=COLOURS[mode],
        marker=MARKERS[mode],
        markersize=size,
        linewidth=1.0,
        alpha=1 - 0.16 * rank,
        markerfacecolor=COLOURS[mode] if rank == 0 else "white",
        clip_on=False,
        zorder=3,
    )
    if rank == 1:
        line.set_label("2nd and smaller")
    draw_signs(axes, values, rows, size=size)


def _draw_primary_metric(panels: Sequence[Axes], stat: str, name: str, value: float) -> Line2D:
    """Draw a number that a share can be compared with, and return what explains it.

    Off the axis, and beside statistics that are no fractions, the number is named alone.
    """
    sign = Line2D([], [], color=NEUTRAL, linestyle="none", label=f"{name} = {value:.4g}")
    for axes in panels:
        low, high = axes.get_xlim()
        if is_share(stat) and low <= value <= high:
            sign.set(linestyle="--", linewidth=1.2)
            axes.axvline(value, color=NEUTRAL, linestyle="--", linewidth=1.2, zorder=2)
    return sign


def _title(stat: str, modes: Sequence[str], told: str) -> str:
    parts = [title_of(stat)]
    if len(modes) == 1:
        parts.append(modes[0])
    if told:
        parts.append(told)
    return ", ".join(parts)
