"""A grid of panels with their names above them, measured in inches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from delve_plot.lettering import wrapped
from delve_plot.style import EDGE, FONT_SIZE, MAX_HEIGHT

LINE = 1.25  # a line's height over the size of its letters
UNDER_NAME = 0.05  # inches

_CELL = 1.9  # inches: a panel, its name above it and its numbers
_NARROWEST = 3.4  # inches of all cells: room for the title
_MARGINS_SHARE = 0.5  # of width and height, at most
_NUMBERED = 49  # panels at most: numbers on more would take most of the time, and be too small
_NUMBERED_CELL = 1.1  # inches at least
_NUMBERS = (0.42, 0.22)  # inches left of a panel and below it
_NO_NUMBERS = (0.15, 0.1)
_NAME_SIZE = 0.7  # of the font's size
_SMALLEST_NAME = 4.0  # points
_NAMES_SHARE = 0.55  # of a cell's height, at most


@dataclass(frozen=True)
class Margins:
    """What lies around all cells, in inches."""

    left: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Names:
    """What stands above the panels.

    Attributes:
        texts: Broken into lines; empty where a cell has no room for names.
        size: In points.
        height: Of the highest, with the gap under it, in inches.
    """

    texts: list[str]
    size: float
    height: float


@dataclass(frozen=True)
class Grid:
    """Where panels stand.

    Attributes:
        lines: Panels one below the other.
        columns: Panels side by side.
        places: The arguments of :class:`matplotlib.gridspec.GridSpec`.
        names: The panels' names.
        numbered: Whether there is room for numbers on the axes.
    """

    lines: int
    columns: int
    places: dict[str, float]
    names: Names
    numbered: bool


def size_for(panels: int, margins: Margins, fontsize: float) -> tuple[float, float]:
    """Width and height of a figure, as large as the panels need."""
    cell = _CELL * fontsize / FONT_SIZE
    lines, columns = _shape(panels, aspect=1)
    width = min(max(columns * cell, _NARROWEST), MAX_HEIGHT)
    height = min(lines * cell, MAX_HEIGHT)
    return width + margins.left + EDGE, height + margins.top + margins.bottom


def fit_grid(
    names: Sequence[str], size: tuple[float, float], margins: Margins, fontsize: float
) -> Grid:
    """Divide a figure into equal cells: in each a name, the panel, and the numbers of its axes.

    Args:
        names: One a panel, without line breaks.
        size: Of the figure, in inches.
        margins: Smaller where a small figure would be nothing else.
        fontsize: Of titles, in points.
    """
    margins = _within(margins, size)
    width = size[0] - margins.left - EDGE
    height = size[1] - margins.top - margins.bottom
    lines, columns = _shape(len(names), width / height)
    cell = width / columns, height / lines
    scale = fontsize / FONT_SIZE
    numbered = len(names) <= _NUMBERED and min(cell) >= _NUMBERED_CELL * scale
    gaps = _NUMBERS if numbered else _NO_NUMBERS
    beside, below = (min(scale * gap, side / 3) for gap, side in zip(gaps, cell, strict=True))
    fitted = _fit_names(names, (cell[0] - beside + EDGE, cell[1]), _NAME_SIZE * fontsize)
    places = {
        "left": (margins.left + beside) / size[0],
        "right": 1 - EDGE / size[0],
        "top": 1 - (margins.top + fitted.height) / size[1],
        "bottom": (margins.bottom + below) / size[1],
        "wspace": beside / (cell[0] - beside),
        "hspace": (fitted.height + below) / (cell[1] - fitted.height - below),
    }
    return Grid(lines, columns, places, fitted, numbered)


def _within(margins: Margins, size: tuple[float, float]) -> Margins:
    shrink = min(1.0, _MARGINS_SHARE * size[1] / (margins.top + margins.bottom))
    left = min(margins.left, _MARGINS_SHARE * size[0])
    return Margins(left, shrink * margins.top, shrink * margins.bottom)


def _shape(panels: int, aspect: float) -> tuple[int, int]:
    """Lines and columns of cells that are about square."""
    columns = min(math.ceil(math.sqrt(panels * aspect)), panels) or 1
    return math.ceil(panels / columns) or 1, columns


def _fit_names(names: Sequence[str], room: tuple[float, float], size: float) -> Names:
    """Break names into lines, in smaller letters if need be."""
    while size >= _SMALLEST_NAME:
        texts = [wrapped(name, size, room[0]) for name in names]
        lines = max((text.count("\n") + 1 for text in texts), default=0)
        height = lines * LINE * size / 72 + UNDER_NAME
        if height <= _NAMES_SHARE * room[1]:
            return Names(texts, size, height)
        size *= 0.9
    return Names([""] * len(names), size, 0.0)
