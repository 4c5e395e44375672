"""Colours, sizes, and the parts that all figures share.

The colours are Okabe and Ito's blue and vermillion, which the colour-blind tell apart; shapes tell
the modes apart in grey. Source: Wong, Points of view: Color blindness, Nature Methods 8 (2011).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from delve_plot.names import common_prefix, short_names, with_gap

COLOURS = {"train": "#0072B2", "eval": "#D55E00"}
MARKERS = {"train": "o", "eval": "D"}
GUIDE = "0.9"  # grey of the lines that lead the eye
MISSING = "0.8"  # grey of what has no value

FONT_SIZE = 10.0  # points, of titles; layers' names are a fifth smaller
MAX_HEIGHT = 40.0  # inches; beyond, rows become thinner
_LONGEST_PREFIX = 50  # characters
_MIN_HEIGHT = 1.8  # inches of the axes
_MIN_NAME_SIZE = 5.0  # points
_LINE = 1.5  # a row's height over the size of its name
_TIGHT_LINE = 1.2  # where the figure's height is given


@dataclass(frozen=True)
class Page:
    """A figure's size, and how large the layers' names are in it.

    Attributes:
        size: Width and height in inches.
        name_size: In points.
        step: Every so many layers are named.
    """

    size: tuple[float, float]
    name_size: float
    step: int


def fit_page(
    rows: int,
    longest_name: int,
    panel_width: float,
    fontsize: float,
    figsize: tuple[float, float] | None,
) -> Page:
    """Choose a size that holds all rows, or fit the names into a given one.

    Args:
        rows: The number of layers.
        longest_name: In characters.
        panel_width: Of what stands beside the names, in inches.
        fontsize: Of titles, in points.
        figsize: The wanted width and height in inches, if any.
    """
    name_size = 0.8 * fontsize
    surround = 1.3 * fontsize / FONT_SIZE  # title, axis and its label, in inches
    if figsize is None:
        body = max(rows * name_size * _LINE / 72, _MIN_HEIGHT)
        height = min(body + surround, MAX_HEIGHT)
        figsize = (panel_width + 0.6 * name_size / 72 * longest_name, height)
    row = max(figsize[1] - surround, 0.5) / max(rows, 1) * 72  # points
    fitting = min(name_size, row / _TIGHT_LINE)
    step = max(1, math.ceil(_MIN_NAME_SIZE / fitting))
    return Page(figsize, max(fitting, _MIN_NAME_SIZE), step)


def name_rows(panels: Sequence[Axes], layers: Sequence[str], page: Page, fontsize: float) -> None:
    """Put the layers on the y axis that the panels share, the first on top."""
    axes = panels[0]
    names = short_names(layers)
    places = range(0, len(layers), page.step)
    axes.set_yticks(list(places), [names[place] for place in places], fontsize=page.name_size)
    axes.set_ylim(max(len(layers), 1) - 0.5, -0.5)
    for panel in panels:
        panel.tick_params(axis="y", length=0)
    every = f", every {_ordinal(page.step)} named" if page.step > 1 else ""
    axes.set_ylabel(f"layer{every} (first on top)", fontsize=fontsize)
    plain(*axes.get_yticklabels())


def name_figure(figure: Figure, title: str, layers: Sequence[str], fontsize: float) -> None:
    """Put a title over a figure, with what all layers' names begin with."""
    prefix = common_prefix(layers)
    text = (
        f"{title}\nlayers in {with_gap(prefix.rstrip('.'), _LONGEST_PREFIX)}" if prefix else title
    )
    plain(figure.suptitle(text, fontsize=1.1 * fontsize))


def plain(*texts: Text) -> None:
    """Keep Matplotlib from reading names as formulas."""
    for text in texts:
        text.set_parse_math(False)
        text.set_usetex(False)


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")
