"""Layer names short enough for an axis, and still apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 48  # characters of a name that needs no gap, if all names of a figure have no more
MAX_LENGTH = 40  # with a gap
GAP = "… "
_STEP = 8  # characters more where names would be the same
_HEAD = 0.3  # of them before the gap: the end of a layer's name tells more than its beginning
_LONGEST_PREFIX = 50
_LINE_BREAKS = re.compile(r"[\n\r\t\f\v]")


def common_prefix(names: Sequence[str]) -> str:
    """The modules that all layers lie in, with the last dot: ``encoder.blocks.``; may be empty."""
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    length = next((i for i, letter in enumerate(first) if last[i : i + 1] != letter), len(first))
    shared = first[:length]
    return shared[: shared.rfind(".") + 1]


def shared_modules(names: Sequence[str]) -> str:
    """What all layers lie in, as words of a title: ``layers in encoder.blocks``; may be empty."""
    prefix = on_one_line(common_prefix(names).removesuffix("."))
    return f"layers in {with_gap(prefix, _LONGEST_PREFIX)}" if prefix else ""


def short_names(names: Sequence[str], most: int = LONGEST) -> list[str]:
    """The names without what all share, and with a gap in the middle of those that are long.

    All are cut at the same length, so that rows of names look alike. Names that differ stay
    different.

    Args:
        names: The layers' names.
        most: Characters that there is room for. Longer names come out where only they differ.
    """
    prefix = common_prefix(names)
    rests = [on_one_line(name.removeprefix(prefix)) for name in names]
    longest = max(map(len, rests), default=0)
    limit = min(most, LONGEST if longest <= LONGEST else MAX_LENGTH)
    while True:
        short = [with_gap(name, limit) for name in rests]
        if len(set(short)) == len(set(rests)):
            return short
        limit += _STEP


def with_gap(name: str, limit: int) -> str:
    """A name of at most so many characters, without some of the modules in its middle.

    A module's own name stays whole, because a part of a number is another layer's number; so a
    name may come out longer, if its last module's is.
    """
    if len(name) <= limit:
        return name
    head = name[: int(_HEAD * limit) + 1].rpartition(".")[0]
    *middle, tail = name[len(head) :].removeprefix(".").split(".")
    start = f"{head} {GAP}" if head else GAP
    while middle and len(start + middle[-1] + "." + tail) <= limit:
        tail = f"{middle.pop()}.{tail}"
    return min(name, start + tail, key=len)


def on_one_line(name: str) -> str:
    """A name whose line breaks, if it has any, are spaces."""
    return _LINE_BREAKS.sub(" ", name)
