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

from delve_plot.lettering import wrapped
from delve_plot.names import shared_modules, short_names

COLOURS = {"train": "#0072B2", "eval": "#D55E00"}
MARKERS = {"train": "o", "eval": "D"}
GUIDE = "0.9"  # grey of the lines that lead the eye
MISSING = "0.8"  # grey of what has no value

FONT_SIZE = 10.0  # points, of titles; layers' names are a fifth smaller
MAX_HEIGHT = 40.0  # inches; beyond, rows become thinner
EDGE = 0.1  # inches between the figure's edge and a line of text
_MIN_HEIGHT = 1.8  # inches of the axes
_MIN_NAME_SIZE = 5.0  # points
_LETTER = 0.6  # the width of a letter over its size, about
_NAMES_SHARE = 0.5  # of the width, at most
_LINE = 1.5  # a row's height over the size of its name
_ASPECT = 1.6  # columns over lines of small panels
_TIGHT_LINE = 1.2  # where the figure's height is given


@dataclass(frozen=True)
class Page:
    """A figure's size, and how large the layers' names are in it.

    Attributes:
        size: Width and height in inches.
        name_size: In points.
        longest_name: In characters, where names can be shortened and still differ.
        step: Every so many layers are named.
    """

    size: tuple[float, float]
    name_size: float
    longest_name: int
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
        panel_width: Of what stands beside the names, in inches, at the default font's size.
        fontsize: Of titles, in points.
        figsize: The wanted width and height in inches, if any.
    """
    name_size = 0.8 * fontsize
    surround = _surround(fontsize)
    if figsize is None:
        scale = fontsize / FONT_SIZE
        body = max(rows * name_size * _LINE / 72, scale * _MIN_HEIGHT)
        width = scale * panel_width + _LETTER * name_size / 72 * longest_name
        figsize = (width, min(body + surround, MAX_HEIGHT))
    row = max(figsize[1] - surround, 0.5) / max(rows, 1) * 72  # points
    fitting = min(name_size, row / _TIGHT_LINE)
    step = max(1, math.ceil(_MIN_NAME_SIZE / fitting))
    fitting = max(fitting, _MIN_NAME_SIZE)
    longest = int(_NAMES_SHARE * figsize[0] * 72 / (_LETTER * fitting))
    return Page(figsize, fitting, longest, step)


def columns_for(panels: int) -> int:
    """How many panels stand side by side, so that the lines are full as far as may be."""
    wish = math.sqrt(panels * _ASPECT)
    some = range(max(math.floor(wish), 1), min(math.ceil(1.4 * wish), panels) + 1)
    return min(some, key=lambda columns: -panels % columns)


def name_rows(panels: Sequence[Axes], layers: Sequence[str], page: Page, fontsize: float) -> None:
    """Put the layers on the y axis that the panels share, the first on top."""
    axes = panels[0]
    names = short_names(layers, page.longest_name)
    places = range(0, len(layers), page.step)
    axes.set_yticks(list(places), [names[place] for place in places], fontsize=page.name_size)
    axes.set_ylim(max(len(layers), 1) - 0.5, -0.5)
    for panel in panels:
        panel.tick_params(axis="y", length=0)
    every = f", every {_ordinal(page.step)} named" if page.step > 1 else ""
    label = wrapped(f"layer{every} (first on top)", fontsize, page.size[1] - _surround(fontsize))
    axes.set_ylabel(label, fontsize=fontsize)
    plain(*axes.get_yticklabels())


def name_figure(figure: Figure, title: str, layers: Sequence[str], fontsize: float) -> Text:
    """Put a title over a figure, with what all layers' names begin with."""
    size = 1.1 * fontsize
    lines = filter(None, [title, shared_modules(layers)])
    text = figure.suptitle(across(figure, "\n".join(lines), size), fontsize=size)
    plain(text)
    return text


def across(figure: Figure, text: str, size: float) -> str:
    """Text in lines that a figure is wide enough for."""
    return wrapped(text, size, figure.get_size_inches()[0] - 2 * EDGE)


def plain(*texts: Text) -> None:
    """Keep Matplotlib from reading names as formulas."""
    for text in texts:
        text.set_parse_math(False)
        text.set_usetex(False)


def _surround(fontsize: float) -> float:
    """The height of title, axis and its label, in inches."""
    return 1.3 * fontsize / FONT_SIZE


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def told_when(epoch: int | None, step: int | None = None) -> str:
    """Which row a figure shows, in words: its training step if it has one."""
    if step is not None:
        return f"step {step}"
    return "" if epoch is None else f"epoch {epoch}"
