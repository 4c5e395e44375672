"""Legends of a whole figure, which fit its width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation

from delve_plot.lettering import missing_glyphs_as_boxes, width_of, wrapped
from delve_plot.names import on_one_line
from delve_plot.signs import NEUTRAL
from delve_plot.style import EDGE, plain

_SIGN = 2.0  # the width of a sign, in units of the font's size, as are the gaps
_BESIDE_SIGN = 0.8
_BETWEEN_COLUMNS = 2.0
_MARKER_SIZE = 4.4  # points
_PAD = 0.06  # inches between title, legend and panels


def draw_legend(figure: Figure, signs: Sequence[Artist], fontsize: float, **place: Any) -> Legend:
    """Explain signs by their labels, in as many columns as the figure is wide enough for.

    Args:
        figure: The figure, in its final width.
        signs: What is explained, with labels.
        fontsize: Of titles, in points; labels are a fifth smaller.
        place: Where the legend stands, in the words of :meth:`matplotlib.figure.Figure.legend`.
    """
    size = 0.8 * fontsize
    room = figure.get_size_inches()[0] - 2 * EDGE
    sign = (_SIGN + _BESIDE_SIGN) * size / 72
    labels = [wrapped(on_one_line(str(s.get_label())), size, room - sign) for s in signs]
    widths = [sign + max(width_of(line, size) for line in text.split("\n")) for text in labels]
    legend = figure.legend(
        handles=signs,
        labels=labels,
        ncols=_columns(widths, room, _BETWEEN_COLUMNS * size / 72),
        handlelength=_SIGN,
        handletextpad=_BESIDE_SIGN,
        columnspacing=_BETWEEN_COLUMNS,
        borderpad=0,
        fontsize=size,
        frameon=False,
        **place,
    )
    plain(*legend.get_texts())
    return legend


def sign_of(
    label: str, colour: str = NEUTRAL, marker: str = "o", *, is_dotted: bool = False
) -> Line2D:
    """A line with a marker, which explains those that look like it.

    Args:
        label: What it means.
        colour: Of both.
        marker: The marker.
        is_dotted: Whether the line is dotted, and the marker hollow.
    """
    return Line2D(
        [],
        [],
        color=colour,
        marker=marker,
        markersize=_MARKER_SIZE,
        markerfacecolor="white" if is_dotted else colour,
        linewidth=1.0,
        linestyle=":" if is_dotted else "-",
        label=not_hidden(label),
    )


def not_hidden(label: str) -> str:
    """A label as a legend shows it: Matplotlib hides those that begin with an underscore."""
    return f" {label}" if label.startswith("_") else label


def draw_legend_below(
    title: Text,
    figure: Figure,
    signs: Sequence[Artist],
    fontsize: float,
    *,
    grows: bool = False,
) -> None:
    """Explain signs between the title and the panels, which make room.

    The constrained layout has one place above the panels, and the title stands there; so the
    legend is placed by hand, and the layout is told to leave its height free.

    Args:
        title: Of the figure.
        figure: The figure, in its final width.
        signs: What is explained, with labels.
        fontsize: Of titles, in points.
        grows: Whether the figure gets taller by the legend, so that the panels keep their height.
    """
    above = _height(title, figure) + 2 * _PAD
    legend = draw_legend(
        figure,
        signs,
        fontsize,
        loc="upper center",
        bbox_to_anchor=(0.5, 1),
        bbox_transform=figure.transFigure + ScaledTranslation(0, -above, figure.dpi_scale_trans),
        borderaxespad=0,
    )
    taken = _height(legend, figure) + _PAD
    if grows:
        figure.set_figheight(figure.get_figheight() + taken)
    share = taken / figure.get_figheight()
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - share))


def _height(artist: Artist, figure: Figure) -> float:
    """In inches."""
    with missing_glyphs_as_boxes():
        return artist.get_window_extent().height / figure.dpi


def _columns(widths: Sequence[float], room: float, gap: float) -> int:
    """The most columns that fit, filled as Matplotlib fills them: one after the other."""
    for count in range(len(widths), 1, -1):
        columns = np.array_split(widths, count)
        if sum(column.max() for column in columns) + gap * (count - 1) <= room:
            return count
    return 1
