"""One statistic of several runs in one picture. Imports the plot plugin, and Matplotlib with it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from delve_plot.stats import label_of, picture_of, scale_of, title_of
from delve_plot.style import COLOURS, FONT_SIZE, GUIDE, fit_page, name_figure, name_rows, plain
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from delve.cli.bars import merge_orders
from delve.cli.report import LayerTable
from delve.cli.tail import TAIL_LABEL
from delve.records import MODES

# Okabe and Ito's colours, which the colour-blind tell apart; markers tell them apart in grey.
_COLOURS = (*COLOURS.values(), "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "oDs^vPX"
_HOLLOW: dict[str, Any] = {
    "marker": "o",
    "markersize": 4.4,
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
    stat = picture_of(tables[0].stat)
    rows, orders = _rows(tables)
    modes = [mode for mode in MODES if any(mode in table.cells for table in tables)]
    width = max(_PANEL * len(modes), _NARROWEST)
    page = fit_page(len(rows), max(map(len, rows), default=0), width, FONT_SIZE, None)
    figure = Figure(figsize=page.size, layout="constrained")
    panels = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    every = [c.value for t in tables for row in t.cells.values() for c in row.values()]
    scale = scale_of(stat, np.array(every, dtype=np.float64))
    places = {row: place for place, row in enumerate(rows)}
    for axes, mode in zip(panels, modes, strict=True):
        if scale.logarithmic:
            axes.set_xscale("log")
        axes.set_xlim(scale.low, scale.high)
        for number, (table, order) in enumerate(zip(tables, orders, strict=True)):
            _draw(axes, table, mode, [places[row] for row in order], names[number], number)
        _finish(axes, mode, stat)
    name_rows(panels, rows, page, FONT_SIZE)
    name_figure(figure, _title(tables), rows, FONT_SIZE)
    handles, _ = panels[0].get_legend_handles_labels()
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


def _draw(
    axes: Axes, table: LayerTable, mode: str, places: Sequence[int], name: str, number: int
) -> None:
    row = table.cells.get(mode, {})
    values = [row[layer].value if layer in row else math.nan for layer in table.layers]
    colour = _COLOURS[number % len(_COLOURS)]
    (line,) = axes.plot(
        values,
        places,
        color=colour,
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=4.4,
        linewidth=1.0,
        linestyle="-" if number < len(_COLOURS) else "--",
        clip_on=False,
    )
    line.set_label(name if not name.startswith("_") else f" {name}")  # Matplotlib hides those
    if table.tail:
        first = table.layers.index(table.tail[0])
        tail = slice(first, first + len(table.tail))
        hollow = _HOLLOW | {"marker": line.get_marker()}
        axes.plot(values[tail], places[tail], color=colour, clip_on=False, zorder=3, **hollow)


def _finish(axes: Axes, mode: str, stat: str) -> None:
    axes.set_title(mode, loc="left", fontsize=FONT_SIZE)
    # On each panel, because a label of the whole figure would lie below the legend.
    axes.set_xlabel(textwrap.fill(label_of(stat), _LABEL_WIDTH), fontsize=0.9 * FONT_SIZE)
    axes.grid(color=GUIDE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=0.8 * FONT_SIZE)


def _title(tables: Sequence[LayerTable]) -> str:
    epochs = {table.epoch for table in tables}
    when = f"epoch {tables[0].epoch}" if len(epochs) == 1 else "at each run's last epoch"
    return f"{title_of(picture_of(tables[0].stat))}, {when}"
