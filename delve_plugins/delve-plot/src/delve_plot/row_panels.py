"""Panels of runs whose rows are layers, the first on top, as in the figures of one run."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from delve.cli import TAIL_LABEL
from delve.records import MODES
from delve_plot.arrangement import Arrangement, told_value
from delve_plot.bands import broken, name_bands, rows_of
from delve_plot.colouring import Colouring, Look
from delve_plot.compared import Compared
from delve_plot.layer_types import Types
from delve_plot.legend import draw_legend_below, not_hidden
from delve_plot.lettering import wrapped
from delve_plot.names import short_names
from delve_plot.shown_figure import ShownFigure
from delve_plot.signs import NEUTRAL, draw_signs, explained, has_place, with_place
from delve_plot.stats import Scale, label_of
from delve_plot.style import (
    COLOURS,
    FONT_SIZE,
    GUIDE,
    Page,
    columns_for,
    fit_page,
    name_figure,
    name_rows,
    plain,
)

_PANEL = 3.4  # inches
_SMALL_PANEL = 1.8  # of many
_NARROWEST = 4.6  # inches: room for the title
_ROW = 1 / 6  # inches of a layer, where there is room
_SURROUND = 1.3  # inches: title, axis and its label
_ABOVE = 0.4  # inches: a small panel's title, and the gap
_TALLEST = 6.0  # inches of a small panel
_ALL_TALLEST = 12.0  # inches of all that stand one below the other
_LEAST_TALL = 0.9  # inches
_LABEL_WIDTH = 36  # characters
_FEW_CURVES = 7  # in a panel: more are thin
_MANY_ROWS = 30  # from there on dots are small
_RANGE_ALPHA = 0.18
_BESIDE = 8  # values of a hyperparameter, at most
_SMALL_TICKS = 3  # steps of a small panel's axis, at most


@dataclass(frozen=True)
class _Panel:
    """What a panel shows: its title, its runs, and in which modes."""

    title: str
    members: Sequence[int]
    modes: Sequence[str]


def row_figure(
    runs: Compared, types: Types | None, plan: Arrangement, colouring: Colouring, title: str
) -> Figure:
    """Draw a panel for each mode, or small ones in lines for values of a hyperparameter or runs.

    Args:
        runs: The runs.
        types: Where these are given, rows stand by type, and lines break between types.
        plan: What has panels.
        colouring: What has colours.
        title: Of the figure.
    """
    if types is not None:
        runs = replace(runs, rows=rows_of(types))
    lines = _lines(runs, plan, colouring)
    columns = max(map(len, lines))
    is_small = len(lines) > 1 or columns > len(MODES)
    figure, page = _page(runs, types, (len(lines), columns), is_small)
    grid = figure.subplots(len(lines), columns, sharex=True, sharey=True, squeeze=False)
    shown = [axes for line, row in zip(lines, grid, strict=True) for axes in row[: len(line)]]
    for axes in set(grid.flat).difference(shown):
        axes.set_visible(False)
    scale = runs.scale
    signs: list[Line2D] = []
    for axes, panel in zip(shown, itertools.chain.from_iterable(lines), strict=True):
        _prepare(axes, scale, is_small)
        _entitle(axes, panel.title, is_small)
        if plan.by_run:
            _draw_range(axes, runs, types, panel.modes)
        signs += _draw(axes, runs, types, panel, colouring)
    _name(figure, grid, runs, types, page)
    _label(figure, grid, shown, label_of(runs.stat), is_small)
    colouring.draw_bar(figure, shown)
    named = types.names if types else runs.rows if runs.is_named else []
    text = name_figure(figure, title, named, FONT_SIZE)
    handles = [*colouring.handles(runs.modes), *_notes(runs, plan, is_small), *explained(signs)]
    if handles:
        draw_legend_below(text, figure, handles, FONT_SIZE, grows=True)
    return figure


def _lines(runs: Compared, plan: Arrangement, colouring: Colouring) -> list[list[_Panel]]:
    """The panels, line by line."""
    everyone, modes = range(len(runs.names)), runs.modes
    if plan.panels is None and not plan.by_run:
        return [[_Panel(mode, everyone, [mode]) for mode in modes]]
    told: list[tuple[str, Sequence[int]]]
    if plan.panels is None:
        told = [(name, [run]) for run, name in enumerate(runs.names)]
    else:
        told = [(told_value(plan.panels, v), some) for v, some in runs.by_value(plan.panels)]
    if not colouring.of_modes and len(modes) > 1:
        beside = math.ceil(len(told) / math.ceil(len(told) / _BESIDE))
        parts = [told[first : first + beside] for first in range(0, len(told), beside)]
        return [
            [_Panel(f"{text}, {mode}", some, [mode]) for text, some in part]
            for part in parts
            for mode in modes
        ]
    panels = [_Panel(text, some, modes) for text, some in told]
    columns = columns_for(len(panels))
    return [panels[first : first + columns] for first in range(0, len(panels), columns)]


def _page(
    runs: Compared, types: Types | None, shape: tuple[int, int], is_small: bool
) -> tuple[Figure, Page]:
    """A figure that has room for panels in so many lines and columns."""
    lines, columns = shape
    names = types.short_names() if types else short_names(runs.rows)
    longest = max(map(len, names), default=0)
    width = max((_SMALL_PANEL if is_small else _PANEL) * columns, _NARROWEST)
    page = fit_page(len(runs.rows), longest, width, FONT_SIZE, None)
    size = page.size
    if is_small:
        tall = max(min(_ROW * len(runs.rows), _TALLEST, _ALL_TALLEST / lines), _LEAST_TALL)
        page = fit_page(len(runs.rows), longest, width, FONT_SIZE, (size[0], tall + _SURROUND))
        size = size[0], lines * (tall + _ABOVE) + _SURROUND
    return ShownFigure(figsize=size, layout="constrained"), page


def _prepare(axes: Axes, scale: Scale, is_small: bool) -> None:
    if scale.logarithmic:
        axes.set_xscale("log")
    elif is_small:
        axes.xaxis.set_major_locator(MaxNLocator(_SMALL_TICKS, steps=[1, 2, 5, 10]))
    axes.set_xlim(*scale.limits)
    axes.grid(color=GUIDE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=0.8 * FONT_SIZE)


def _entitle(axes: Axes, title: str, is_small: bool) -> None:
    size = 0.8 * FONT_SIZE if is_small else FONT_SIZE
    text = wrapped(title, size, _SMALL_PANEL if is_small else _PANEL)
    plain(axes.set_title(text, loc="left", fontsize=size))


def _name(
    figure: Figure, grid: np.ndarray, runs: Compared, types: Types | None, page: Page
) -> None:
    """Put the layers on the y axes, or the types where rows stand by these."""
    for line in grid:
        name_rows(line, runs.rows, page, FONT_SIZE)
        if types is not None:
            name_bands(line, types)
    if len(grid) > 1:
        label = grid[0, 0].get_ylabel()
        for line in grid:
            line[0].set_ylabel("")
        figure.supylabel(label.replace("\n", " "), fontsize=FONT_SIZE)


def _label(
    figure: Figure, grid: np.ndarray, shown: Sequence[Axes], label: str, is_small: bool
) -> None:
    """Say what the values are, and have numbers below the last panel of each column."""
    if not is_small:
        for axes in shown:
            axes.set_xlabel(textwrap.fill(label, _LABEL_WIDTH), fontsize=0.9 * FONT_SIZE)
        return
    figure.supxlabel(label, fontsize=FONT_SIZE)
    for column in grid.T:
        [axes for axes in column if axes.get_visible()][-1].tick_params(labelbottom=True)


def _draw(
    axes: Axes, runs: Compared, types: Types | None, panel: _Panel, colouring: Colouring
) -> list[Line2D]:
    """Draw the curves of a panel; returns the signs at its edge."""
    left, _ = axes.get_xlim()
    curves = [(run, mode) for run in panel.members for mode in panel.modes]
    is_few = len(curves) <= _FEW_CURVES
    size = 4.4 if is_few and len(runs.rows) <= _MANY_ROWS else 2.2  # points
    signs: list[Line2D] = []
    with_signs = 0
    for run, mode in curves:
        look, places, values = colouring.look(run, mode), runs.places(run), runs.values(run, mode)
        at, line = broken(places, with_place(values, left), types)
        axes.plot(
            line,
            at,
            color=look.colour,
            marker=look.marker,
            markersize=size,
            linewidth=1.0 if is_few else 0.7,
            label=not_hidden(runs.names[run]),
            clip_on=not has_place(values, left),
        )
        tail = np.isin(runs.tables[run].layers, runs.tables[run].tail)
        if tail.any() and is_few and types is None:
            axes.add_line(_hollow(values[tail], places[tail], look, size))
        beside = min(with_signs, _FEW_CURVES)  # runs stand beside each other
        drawn = draw_signs(axes, values, places, size=size, colour=look.colour, place=beside)
        with_signs += bool(drawn)
        signs += drawn
    return signs


def _hollow(
    values: Sequence[float] | np.ndarray,
    places: Sequence[float] | np.ndarray,
    look: Look,
    size: float,
) -> Line2D:
    """Marks that are put over those of a line."""
    return Line2D(
        values,
        places,
        color=look.colour,
        marker=look.marker,
        markersize=size,
        markerfacecolor="white",
        linestyle="none",
        clip_on=False,
        zorder=3,
    )


def _draw_range(axes: Axes, runs: Compared, types: Types | None, modes: Sequence[str]) -> None:
    """Draw from the least to the greatest value of all runs, as a ground to see a run before."""
    left, _ = axes.get_xlim()
    rows = np.arange(len(runs.rows))
    for mode in modes:
        values = with_place(runs.matrix(mode), left)
        held = np.isfinite(values).any(axis=0)
        low = np.where(held, np.fmin.reduce(values), np.nan)
        high = np.where(held, np.fmax.reduce(values), np.nan)
        at, lows = broken(rows, low, types)
        _, highs = broken(rows, high, types)
        axes.fill_betweenx(
            at, lows, highs, color=COLOURS[mode], alpha=_RANGE_ALPHA, linewidth=0, zorder=0
        )


def _notes(runs: Compared, plan: Arrangement, is_small: bool) -> list[Artist]:
    """What else is to be known of the lines."""
    notes: list[Artist] = []
    if plan.by_run:
        label = "from the least to the greatest of all runs"
        notes.append(Patch(color=NEUTRAL, alpha=_RANGE_ALPHA, linewidth=0, label=label))
    if unsaid := plan.told_unsaid:
        notes.append(Line2D([], [], linestyle="none", label=unsaid))
    if not is_small and len(runs.names) <= _FEW_CURVES and any(t.tail for t in runs.tables):
        hollow = _hollow([], [], Look(NEUTRAL, "o"), 4.4)
        hollow.set_label(f"hollow: {TAIL_LABEL}")
        notes.append(hollow)
    return notes
