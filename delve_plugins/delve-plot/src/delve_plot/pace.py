"""How often to draw: pictures must not take the time that the training needs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Pace:
    """Says when a costly thing is due again.

    Args:
        pause: Seconds between the end of one and the next, at least.
        share: Of the run's time that they may take.
    """

    def __init__(self, pause: float, share: float) -> None:
        self._pause = pause
        self._share = share
        self._next = 0.0

    def is_due(self) -> bool:
        """True at first, and again once enough time has gone by."""
        return time.monotonic() >= self._next

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Time what is done inside; the next one is due accordingly later."""
        begun = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max(self._pause, (ended - begun) / self._share)
