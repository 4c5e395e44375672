"""Names of layers that fit a terminal, and stay apart."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len, set_cell_size

from delve.base.printable import printable

_GAP = "…"
_DIGITS = "0123456789"
_ROOM_FOR_HEAD = 20  # characters: a shorter name keeps its end alone
_NAME_SHARE = 0.3  # of the width, for names of layers
_SHORTEST_MODULE = 4  # characters with the gap: fewer would say nothing
# Behind a word of a run's name, but not within a number: 0.1 and 0.01, 1e-3 and 1e-4 stay whole.
_END_OF_WORD = re.compile(r"[/_ ]|(?<![0-9])\.|(?<![0-9]e)-", re.IGNORECASE)


def layer_labels(names: Sequence[str], width: int) -> list[str]:
    """The names, all of one length: a share of the width, and more where some would be the same.

    Names that half of the width does not tell apart lose letters of each of their modules, so that
    every number stays that of its neighbours; at the very worst a row's number tells them apart.
    """
    names = [printable(name) for name in names]
    least, most = int(_NAME_SHARE * width), width // 2
    for labels in _attempts(names, least, most):
        if len(set(labels)) == len(names):
            break
    size = max(map(cell_len, labels))
    return [set_cell_size(label, size) for label in labels]


def run_labels(names: Sequence[str], width: int) -> tuple[str, list[str]]:
    """What all runs' names begin with, and what is left of each, shortened so that all differ.

    Args:
        names: What the runs are called.
        width: Of the whole, in characters: a label takes half of it at most.
    """
    beginning, rests = _apart(names)
    return printable(beginning), [label.rstrip() for label in layer_labels(rests, width)]


def _apart(names: Sequence[str]) -> tuple[str, list[str]]:
    """What all names begin with, up to a mark between words, and what is left of each."""
    shared = _shared(names) if len(names) > 1 else ""
    if shared in names:  # one lies in another
        shared = shared[:-1]
    ends = [mark.end() for mark in _END_OF_WORD.finditer(shared)]
    beginning = shared[: max(ends, default=0)]
    return beginning, [name.removeprefix(beginning) for name in names]


def shorten(text: str, width: int) -> str:
    """A name of at most so many characters; its end tells more than its beginning."""
    if cell_len(text) <= width:
        return text
    head = width // 4 if width >= _ROOM_FOR_HEAD else 0
    return f"{_beginning(text, head)}{_GAP}{_beginning(text[::-1], width - 1 - head)[::-1]}"


def _shared(names: Sequence[str]) -> str:
    first, last = min(names), max(names)  # all others lie between them
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(letter for letter, _ in same)


def _beginning(text: str, width: int) -> str:
    """As much of a text as has room; signs of Chinese take that of two letters."""
    if text.isascii():
        return text[:width]
    sizes = itertools.accumulate(map(cell_len, text))
    return text[: sum(size <= width for size in sizes)]


def _attempts(names: Sequence[str], least: int, most: int) -> Iterator[list[str]]:
    """The names in one form after the other, the best first; those of the last are apart."""
    for size in range(least, most + 1):
        yield [shorten(name, size) for name in names]
    for module in range(most, _SHORTEST_MODULE - 1, -1):
        for cut in (_begin, _end):
            short = [n if cell_len(n) <= most else _in_each_module(n, module, cut) for n in names]
            if max(map(cell_len, short)) <= most:
                yield short
    digits = len(str(len(names)))
    yield [f"{n:{digits}} {shorten(name, least - digits - 1)}" for n, name in enumerate(names, 1)]


def _in_each_module(name: str, length: int, cut: Callable[[str, int], str]) -> str:
    parts = name.split(".")
    return ".".join(part if len(part) <= length else cut(part, length - 1) for part in parts)


def _begin(module: str, length: int) -> str:
    """The first letters of a module's name; a number that would be cut in two goes."""
    kept = module[:length]
    return f"{kept.rstrip(_DIGITS) if module[length] in _DIGITS else kept}{_GAP}"


def _end(module: str, length: int) -> str:
    """The last letters of a module's name; a number that would be cut in two goes."""
    kept = module[-length:]
    return f"{_GAP}{kept.lstrip(_DIGITS) if module[-length - 1] in _DIGITS else kept}"
