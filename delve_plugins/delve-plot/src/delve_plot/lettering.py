"""Text that fits: how wide it is, and where its lines break."""

from __future__ import annotations

import contextlib
import functools
import re
import warnings
from collections.abc import Callable, Iterator

from matplotlib import rcParams
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

_MEASURED_SIZE = 100.0  # points
_SLACK = 1.04  # hinting makes letters on the screen a little wider than they are in the font
# Not in the middle of 0.775, where a line break would read as the end of a sentence.
_BETWEEN_MODULES = re.compile(r"(?<= )|(?<=\.)(?!(?<=[0-9]\.)[0-9])")
_BETWEEN_WORDS = re.compile(r"(?<=[_/-])")


def width_of(text: str, size: float) -> float:
    """The width of a line in inches.

    Args:
        text: One line.
        size: In points.
    """
    font = FontProperties(size=_MEASURED_SIZE)  # the one that the settings in force ask for
    families = _families()
    return sum(_advance(letter, font, families) for letter in text) * size / 72


def wrapped(text: str, size: float, width: float) -> str:
    """Text in lines of at most this width.

    A line breaks at a space or behind a dot; within what is too wide for a line, behind an
    underscore, a slash or a hyphen; and in the middle of a word only where nothing else helps.

    Args:
        text: Its own line breaks stay.
        size: In points.
        width: In inches.
    """

    def fits(line: str) -> bool:
        return width_of(line.rstrip(), size) <= width

    return "\n".join(line for given in text.split("\n") for line in _lines(given, fits))


@contextlib.contextmanager
def missing_glyphs_as_boxes() -> Iterator[None]:
    """Let a name hold signs that the font has not, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def _families() -> tuple[tuple[str, ...], ...]:
    """The fonts that the settings in force put behind the names of families."""
    return tuple(
        tuple(fonts)
        for fonts in (
            rcParams["font.serif"],
            rcParams["font.sans-serif"],
            rcParams["font.cursive"],
            rcParams["font.fantasy"],
            rcParams["font.monospace"],
        )
    )


@functools.lru_cache(maxsize=1024)
def _advance(letter: str, font: FontProperties, families: tuple[tuple[str, ...], ...]) -> float:
    """How far a letter moves the next one, in units of the font's size.

    Args:
        letter: The letter.
        font: Its font, in the size to measure at.
        families: What that font's generic families stand for: they tell results apart.
    """
    del families
    with missing_glyphs_as_boxes():
        width, _, _ = text_to_path.get_text_width_height_descent(letter, font, ismath=False)
    return _SLACK * width / font.get_size_in_points()


def _lines(text: str, fits: Callable[[str], bool]) -> list[str]:
    lines = [""]
    for part in _parts(text, fits):
        if lines[-1] and not fits(lines[-1] + part):
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _parts(text: str, fits: Callable[[str], bool]) -> Iterator[str]:
    """What stays together on a line."""
    for part in _BETWEEN_MODULES.split(text):
        for word in [part] if fits(part) else _BETWEEN_WORDS.split(part):
            yield from [word] if fits(word) else word
