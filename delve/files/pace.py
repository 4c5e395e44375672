"""How often to do what costs time: never so often that the training waits for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Pace:
    """Says when a costly thing is due again: at first, and then after a while.

    Args:
        share: Of the run's time that it may take, above 0.
        pause: Seconds between the end of one and the next, at least.
    """

    def __init__(self, share: float, pause: float = 0.0) -> None:
        self._share = share
        self._pause = pause
        self._next = 0.0

    def is_due(self) -> bool:
        """Whether enough time has gone by since the last one."""
        return time.monotonic() >= self._next

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Time what is done inside, and put off the next one accordingly.

        What ends in an exception was not done, and stays due.
        """
        begun = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max(self._pause, (ended - begun) / self._share)
