"""One statistic of several runs in one figure."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from delve.cli import TAIL_LABEL, LayerTable, merge_orders
from delve.records import MODES
from delve_plot.signs import draw_signs, explained, with_place
from delve_plot.stats import Scale, figure_of, label_of, scale_of, title_of
from delve_plot.style import (
    COLOURS,
    FONT_SIZE,
    GUIDE,
    fit_page,
    name_figure,
    name_rows,
    plain,
    told_when,
)

# Okabe and Ito's colours, which the colour-blind tell apart; markers tell them apart in grey.
_COLOURS = (*COLOURS.values(), "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "oDs^vPX"
_MARKER_SIZE = 4.4  # points
_HOLLOW: dict[str, Any] = {
    "marker": "o",
    "markersize": _MARKER_SIZE,
    "markerfacecolor": "white",
    "linestyle": "none",
}
_PANEL = 3.4  # inches
_NARROWEST = 4.6  # inches: room for the title
_LABEL_WIDTH = 36  # characters
_ALIKE = 0.5  # of all layers' names: from there on runs are of one model


def comparison_figure(tables: Sequence[LayerTable], names: Sequence[str]) -> Figure:
    """Draw a line for each run, with a panel for each mode that has values.

    Runs of one model share the rows, which bear the layers' names. Where fewer than half of the
    names are common to all, rows count the layers of each run from the first on.

    Args:
        tables: One for each run, all of one statistic.
        names: What the runs are called in the legend.

    Returns:
        A figure of its own, unknown to pyplot.
    """
    stat = figure_of(tables[0].stat)
    rows, orders = _rows(tables)
    modes = [mode for mode in MODES if any(mode in table.cells for table in tables)]
    width = max(_PANEL * len(modes), _NARROWEST)
    page = fit_page(len(rows), max(map(len, rows), default=0), width, FONT_SIZE, None)
    figure = Figure(figsize=page.size, layout="constrained")
    panels = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    every = [c.value for t in tables for row in t.cells.values() for c in row.values()]
    scale = scale_of(stat, np.array(every, dtype=np.float64))
    places = {row: place for place, row in enumerate(rows)}
    at = [np.array([places[row] for row in order], dtype=np.int_) for order in orders]
    signs: list[Line2D] = []
    for axes, mode in zip(panels, modes, strict=True):
        _prepare(axes, mode, stat, scale)
        lines = [_draw(axes, t, mode, at[n], n) for n, t in enumerate(tables)]
        signs += _draw_signs(axes, tables, mode, at)
        for line, name in zip(lines, names, strict=True):  # Matplotlib hides labels that begin so
            line.set_label(f" {name}" if name.startswith("_") else name)
    name_rows(panels, rows, page, FONT_SIZE)
    name_figure(figure, _title(tables), rows, FONT_SIZE)
    handles = [*lines, *explained(signs)]
    if any(table.tail for table in tables):
        handles.append(Line2D([], [], color="0.3", label=f"hollow: {TAIL_LABEL}", **_HOLLOW))
    legend = figure.legend(
        handles=handles, loc="outside lower center", fontsize=0.8 * FONT_SIZE, frameon=False
    )
    plain(*legend.get_texts())
    return figure


def _rows(tables: Sequence[LayerTable]) -> tuple[list[str], list[Sequence[str]]]:
    """The names of all rows, and those of each run's layers."""
    orders: list[Sequence[str]] = [table.layers for table in tables]
    merged = merge_orders(orders)
    if len(set(merged).intersection(*orders)) >= _ALIKE * len(merged):
        return merged, orders
    longest = max(len(table.layers) for table in tables)
    rows = [str(number + 1) for number in range(longest)]
    return rows, [rows[: len(table.layers)] for table in tables]


def _prepare(axes: Axes, mode: str, stat: str, scale: Scale) -> None:
    if scale.logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(*scale.limits)
    axes.set_title(mode, loc="left", fontsize=FONT_SIZE)
    # On each panel, because a label of the whole figure would lie below the legend.
    axes.set_xlabel(textwrap.fill(label_of(stat), _LABEL_WIDTH), fontsize=0.9 * FONT_SIZE)
    axes.grid(color=GUIDE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=0.8 * FONT_SIZE)


def _draw(axes: Axes, table: LayerTable, mode: str, places: np.ndarray, number: int) -> Line2D:
    left, _ = axes.get_xlim()
    values = with_place(_values(table, mode), left)
    (line,) = axes.plot(
        values,
        places,
        color=_colour(number),
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=_MARKER_SIZE,
        linewidth=1.0,
        linestyle="-" if number < len(_COLOURS) else "--",
        clip_on=False,
    )
    tail = np.isin(table.layers, table.tail)
    if tail.any():
        hollow = _HOLLOW | {"marker": line.get_marker(), "color": _colour(number)}
        axes.plot(values[tail], places[tail], clip_on=False, zorder=3, **hollow)
    return line


def _draw_signs(
    axes: Axes, tables: Sequence[LayerTable], mode: str, places: Sequence[np.ndarray]
) -> list[Line2D]:
    """Draw at the left edge what has no place on the axis; runs stand beside each other."""
    drawn: list[list[Line2D]] = []
    for number, (table, rows) in enumerate(zip(tables, places, strict=True)):
        values, colour = _values(table, mode), _colour(number)
        if signs := draw_signs(
            axes, values, rows, size=_MARKER_SIZE, colour=colour, place=len(drawn)
        ):
            drawn.append(signs)
    return list(itertools.chain.from_iterable(drawn))


def _values(table: LayerTable, mode: str) -> np.ndarray:
    """The values by layer: NaN where there is none, an infinity where it is not finite."""
    row = table.cells.get(mode, {})
    values = [row[layer].value if layer in row else None for layer in table.layers]
    finite = [math.nan if v is None else v if math.isfinite(v) else math.inf for v in values]
    return np.array(finite, dtype=np.float64)


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _title(tables: Sequence[LayerTable]) -> str:
    told = {told_when(table.epoch, table.step) for table in tables}
    last = "epoch" if any(table.step is None for table in tables) else "row"
    when = told.pop() if len(told) == 1 else f"at each run's last {last}"
    return f"{title_of(figure_of(tables[0].stat))}, {when}"
