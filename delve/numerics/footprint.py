"""What exact covariances take, from how many features layers have: no PyTorch is needed to tell."""

from __future__ import annotations

import math
from collections.abc import Iterable

from delve.records import MODES


def exact_bytes(features: int) -> int:
    """What an exact layer holds at most, in one mode: its matrix, and the block beside it."""
    return 9 * features**2


def ending_bytes(features: int) -> int:
    """What the decomposition of an exact layer takes beside that."""
    return 16 * features**2


def exact_estimate(widths: Iterable[int]) -> tuple[int, int]:
    """What layers of these widths hold in both modes, and what an epoch's end takes beside that."""
    widths = list(widths)
    held = sum(len(MODES) * exact_bytes(width) for width in widths)
    return held, max(map(ending_bytes, widths), default=0)


def in_words(count: float) -> str:
    """Bytes as people read them: ``2.5 GiB``."""
    power = min(4, int(math.log2(count) // 10)) if count >= 1 else 0
    unit = ("B", "KiB", "MiB", "GiB", "TiB")[power]
    return f"{count / 1024**power:.{0 if power == 0 else 1}f} {unit}"
