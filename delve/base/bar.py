"""A share as a bar of whole signs, for tables and for the console of a training alike."""

from __future__ import annotations

import math

FULL, EMPTY = "█", "░"


def draw_bar(share: float, width: int, full: str = FULL, empty: str = EMPTY) -> str:
    """A bar of which this share is full; blank where the share is not finite.

    Args:
        share: 0 for an empty bar, 1 for a full one; what lies beyond is drawn as the nearer.
        width: In characters.
        full: The sign of the full part.
        empty: The sign of the rest.
    """
    if not math.isfinite(share):
        return " " * width
    length = round(min(max(share, 0.0), 1.0) * width)
    return full * length + empty * (width - length)
