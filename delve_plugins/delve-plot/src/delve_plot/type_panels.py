"""Panels of types of layers: a Transformer's queries, keys, values, each over the depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from delve.cli import shorten
from delve_plot.arrangement import Arrangement, told_value
from delve_plot.colouring import Colouring
from delve_plot.compared import Compared
from delve_plot.layer_types import OTHERS, STAR, Types
from delve_plot.legend import draw_legend_below, not_hidden, sign_of
from delve_plot.lettering import width_of, wrapped
from delve_plot.names import short_names
from delve_plot.shown_figure import ShownFigure
from delve_plot.signs import draw_signs, explained, has_place, with_place
from delve_plot.stats import Scale, label_of
from delve_plot.style import FONT_SIZE, GUIDE, columns_for, name_figure, plain

_WIDTH, _HEIGHT = 2.3, 1.35  # inches of a panel
_SMALL_WIDTH = 1.7  # beside many
_BESIDE = 4  # panels from which on they are small
_TITLE = 0.35  # inches
_SURROUND = (0.9, 1.4)  # inches: the labels of axes, and the title
_NAME_SIZE = 0.65 * FONT_SIZE
_MOST_NAMED = 8  # depths at an axis that are no plain numbers
_LONGEST_NAME = 28  # characters of one of them
_MOST_OTHERS = 16  # layers of no type that are named
_FEW_CURVES = 7  # in a panel: more are thin


@dataclass(frozen=True)
class _Column:
    """What panels one below the other have in common."""

    title: str
    members: Sequence[int]
    modes: Sequence[str]


@dataclass(frozen=True)
class _Kind:
    """What a panel shows of the layers: what they are called, and where each stands on the x axis.

    Attributes:
        name: Above the panel, or beside the first of several.
        at: The places of layers.
        ticks: The names of places, where these are no plain numbers.
        ends: The first and the last place, the same for all types.
        is_turned: Whether they are too long to stand beside each other.
    """

    name: str
    at: dict[str, int]
    ticks: dict[int, str]
    ends: tuple[int, int]
    is_turned: bool = False


def type_figure(
    runs: Compared, types: Types, plan: Arrangement, colouring: Colouring, title: str
) -> Figure:
    """Draw a panel for each type, with the number of the block as the x axis.

    Where a hyperparameter has panels, these are columns, and types are lines; where a panel would
    hold too many curves, training and evaluation are columns too.

    Args:
        runs: The runs.
        types: The types of their layers.
        plan: What has panels.
        colouring: What has colours.
        title: Of the figure.
    """
    kinds = _kinds(types)
    columns = _columns(runs, plan, colouring)
    is_grid = len(columns) > 1
    beside = len(columns) if is_grid else columns_for(len(kinds))
    below = len(kinds) if is_grid else math.ceil(len(kinds) / beside)
    figure = ShownFigure(figsize=_size(kinds, beside, below), layout="constrained")
    grid = figure.subplots(below, beside, sharey=True, squeeze=False)
    scale = runs.scale
    signs: list[Line2D] = []
    for place, axes in enumerate(grid.flat):
        kind, column = divmod(place, beside) if is_grid else (place, 0)
        if kind >= len(kinds):
            axes.set_visible(False)
            continue
        _prepare(axes, scale, kinds[kind])
        signs += _draw(axes, runs, kinds[kind], columns[column], colouring)
        _entitle(axes, kinds[kind], columns[column], is_grid, kind == 0, column == 0)
    label = wrapped(label_of(runs.stat), FONT_SIZE, 0.8 * figure.get_figheight())
    figure.supylabel(label, fontsize=FONT_SIZE)
    figure.supxlabel(f"number of the block, in the place of {STAR}", fontsize=FONT_SIZE)
    colouring.draw_bar(figure, [axes for axes in grid.flat if axes.get_visible()])
    text = name_figure(figure, title, types.names, FONT_SIZE)
    handles = [*colouring.handles(runs.modes), *_notes(plan, columns, colouring), *explained(signs)]
    if handles:
        draw_legend_below(text, figure, handles, FONT_SIZE, grows=True)
    return figure


def _kinds(types: Types) -> list[_Kind]:
    depths = types.depths
    are_plain = all(len(depth) == 1 for depth in depths)
    place = {depth: depth[0] if are_plain else n for n, depth in enumerate(depths)}
    every = -(-len(depths) // _MOST_NAMED)
    told = {place[depth]: ".".join(map(str, depth)) for depth in depths[::every]}
    ends = min(place.values()), max(place.values())
    kinds = [
        _Kind(
            name,
            {layer: place[depth] for layer, depth in zip(one.layers, one.depths, strict=True)},
            {} if are_plain else told,
            ends,
        )
        for name, one in zip(types.short_names(), types.types, strict=False)
    ]
    return [*kinds, _others(types.others)] if types.others else kinds


def _others(layers: Sequence[str]) -> _Kind:
    every = -(-len(layers) // _MOST_OTHERS)
    names = [shorten(name, _LONGEST_NAME) for name in short_names(layers)]
    ticks = {n: name for n, name in enumerate(names) if n % every == 0}
    longest = max(width_of(name, _NAME_SIZE) for name in names)
    is_turned = longest * len(ticks) > 0.8 * _SMALL_WIDTH
    return _Kind(
        OTHERS, {layer: n for n, layer in enumerate(layers)}, ticks, (0, len(layers) - 1), is_turned
    )


def _columns(runs: Compared, plan: Arrangement, colouring: Colouring) -> list[_Column]:
    """One column stands for panels that follow each other in lines."""
    everyone: Sequence[int] = range(len(runs.names))
    held = [("", everyone)]
    if plan.panels is not None:
        held = [(told_value(plan.panels, v), some) for v, some in runs.by_value(plan.panels)]
    modes = runs.modes
    most = max(len(some) for _, some in held) * len(modes)
    if colouring.of_modes or most <= _FEW_CURVES or len(modes) == 1:
        return [_Column(text, some, modes) for text, some in held]
    return [
        _Column(", ".join(filter(None, [text, mode])), some, [mode])
        for text, some in held
        for mode in modes
    ]


def _size(kinds: Sequence[_Kind], beside: int, below: int) -> tuple[float, float]:
    width = _SMALL_WIDTH if beside >= _BESIDE else _WIDTH
    turned = (width_of(name, _NAME_SIZE) for k in kinds if k.is_turned for name in k.ticks.values())
    names = max(turned, default=0.0)
    return (
        beside * width + _SURROUND[0],
        below * (_HEIGHT + _TITLE) + names + _SURROUND[1],
    )


def _prepare(axes: Axes, scale: Scale, kind: _Kind) -> None:
    if scale.logarithmic:
        axes.set_yscale("log")
    axes.set_ylim(*scale.limits)
    axes.set_xlim(kind.ends[0] - 0.5, kind.ends[1] + 0.5)
    if kind.ticks:
        rotation = 90 if kind.is_turned else 0
        axes.set_xticks(list(kind.ticks), list(kind.ticks.values()), rotation=rotation)
        plain(*axes.get_xticklabels())
    else:
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.grid(color=GUIDE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(axis="y", labelsize=0.8 * FONT_SIZE, length=0)
    axes.tick_params(axis="x", labelsize=_NAME_SIZE if kind.name == OTHERS else 0.8 * FONT_SIZE)


def _entitle(
    axes: Axes, kind: _Kind, column: _Column, is_grid: bool, is_top: bool, is_first: bool
) -> None:
    """Name a panel; in a grid, its line at the left and its column on top."""
    size = 0.8 * FONT_SIZE
    if not is_grid:
        title = ", ".join(filter(None, [kind.name, column.title]))
        plain(axes.set_title(wrapped(title, size, _SMALL_WIDTH), loc="left", fontsize=size))
        return
    if is_top:
        title = wrapped(column.title, size, _SMALL_WIDTH)
        plain(axes.set_title(title, loc="left", fontsize=size))
    if is_first:
        plain(axes.set_ylabel(wrapped(kind.name, size, _HEIGHT), fontsize=size))


def _draw(
    axes: Axes, runs: Compared, kind: _Kind, column: _Column, colouring: Colouring
) -> list[Line2D]:
    """Draw the curves of a panel; returns the signs at its lower edge."""
    low, _ = axes.get_ylim()
    curves = [(run, mode) for run in column.members for mode in column.modes]
    is_few = len(curves) <= _FEW_CURVES
    size = 3.4 if is_few else 2.2  # points
    signs: list[Line2D] = []
    with_signs = 0
    for run, mode in curves:
        look = colouring.look(run, mode)
        held = dict(zip(runs.orders[run], runs.values(run, mode), strict=True))
        layers = [layer for layer in kind.at if layer in held]
        places = np.array([kind.at[layer] for layer in layers], dtype=np.int_)
        values = np.array([held[layer] for layer in layers], dtype=np.float64)
        axes.plot(
            places,
            with_place(values, low),
            color=look.colour,
            marker=look.marker,
            markersize=size,
            markerfacecolor="white" if _is_dotted(mode, column, colouring) else look.colour,
            linewidth=1.0 if is_few else 0.7,
            linestyle=_style(kind, _is_dotted(mode, column, colouring)),
            label=not_hidden(runs.names[run]),
            clip_on=not has_place(values, low),
        )
        drawn = draw_signs(
            axes,
            values,
            places,
            size=size,
            colour=look.colour,
            place=min(with_signs, _FEW_CURVES),
            at_bottom=True,
        )
        with_signs += bool(drawn)
        signs += drawn
    return signs


def _style(kind: _Kind, is_dotted: bool) -> str:
    """Of a line: none between layers that have no order of depth."""
    if kind.name == OTHERS:
        return "none"
    return ":" if is_dotted else "-"


def _is_dotted(mode: str, column: _Column, colouring: Colouring) -> bool:
    """Whether lines of this mode share a panel and colours with those of evaluation."""
    return mode == "train" and len(column.modes) > 1 and not colouring.of_modes


def _notes(plan: Arrangement, columns: Sequence[_Column], colouring: Colouring) -> list[Artist]:
    """What else is to be known of the lines."""
    notes: list[Artist] = []
    if any(_is_dotted("train", column, colouring) for column in columns):
        notes += [sign_of("train", is_dotted=True), sign_of("eval")]
    if unsaid := plan.told_unsaid:
        notes.append(Line2D([], [], linestyle="none", label=unsaid))
    return notes
