"""Rows that stand by type of layer: a band of them for each type, and lines with gaps between."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from delve_plot.layer_types import Types
from delve_plot.style import FONT_SIZE, MISSING, plain


def rows_of(types: Types) -> list[str]:
    """The layers, type by type, each from its first block on."""
    return [layer for layers in types.bands() for layer in layers]


def name_bands(line: Sequence[Axes], types: Types) -> None:
    """Name each type in the middle of its rows, and draw a line between types.

    Args:
        line: The panels that share a y axis.
        types: The types.
    """
    edges = _edges(types)
    names = types.short_names()
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    line[0].set_yticks(middles, names, fontsize=0.8 * FONT_SIZE)
    line[0].set_ylabel("type of layer, each from the first block on", fontsize=FONT_SIZE)
    plain(*line[0].get_yticklabels())
    for axes in line:
        axes.grid(visible=False, axis="y")
        for edge in edges[1:-1]:
            axes.axhline(edge, color=MISSING, linewidth=0.8, zorder=0)


def broken(
    places: np.ndarray, values: np.ndarray, types: Types | None
) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of a line, with a gap between types, if rows stand by these."""
    if types is None:
        return places, values
    order = np.argsort(places)
    places, values = places[order].astype(np.float64), values[order]
    edges = np.array(_edges(types)[1:-1])
    gaps = np.searchsorted(places, edges)
    return np.insert(places, gaps, edges), np.insert(values, gaps, np.nan)


def _edges(types: Types) -> list[float]:
    """Where bands begin and end, between rows."""
    counts = [len(layers) for layers in types.bands()]
    return [count - 0.5 for count in itertools.accumulate(counts, initial=0)]
