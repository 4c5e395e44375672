"""Layer names short enough for an axis, and still apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_LENGTH = 40  # characters
_LINE_BREAKS = re.compile(r"[\n\r\t\f\v]")
_HEAD = 12  # of them before the gap: the end of a layer's name tells more than its beginning


def common_prefix(names: Sequence[str]) -> str:
    """The modules that all layers lie in, with the last dot: ``encoder.blocks.``; may be empty."""
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    length = next((i for i, letter in enumerate(first) if last[i : i + 1] != letter), len(first))
    shared = first[:length]
    return shared[: shared.rfind(".") + 1]


def short_names(names: Sequence[str]) -> list[str]:
    """The names without what all share, and with a gap in the middle of those that are long.

    Names that differ stay different.
    """
    prefix = common_prefix(names)
    rests = [_LINE_BREAKS.sub(" ", name.removeprefix(prefix)) for name in names]
    limit = MAX_LENGTH
    while True:
        short = [with_gap(name, limit) for name in rests]
        if len(set(short)) == len(set(rests)):
            return short
        limit += MAX_LENGTH


def with_gap(name: str, limit: int) -> str:
    """A name of at most so many characters, shortened in the middle."""
    if len(name) <= limit:
        return name
    head, tail = name[:_HEAD], name[-(limit - _HEAD - 1) :]
    return f"{head.rstrip('._')}…{tail.lstrip('._')}"
