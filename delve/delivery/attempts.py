"""When a writer is tried, and for how long: what that may take of a training's time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

FIRST_WAIT = 1.0  # seconds before a writer that failed is tried again; doubled each time
LONGEST_WAIT = 300.0
WAIT_RATIO = 20.0  # times the attempt's own duration: attempts take at most 5 % of a run
ATTEMPT_TIME = 9.5  # seconds that a writer is to take at most for an epoch, or to close
QUICKLY = 0.1  # seconds
SLOW_EPOCH = 1.0  # seconds from which an epoch took long
SLOW_EPOCHS = 3  # in a row, after which they come only as often as WAIT_RATIO allows
PATIENCE = 60.0  # seconds that it may take, by default, to open it or to feed it at the end


class Attempts:
    """The attempts to give one writer something.

    Args:
        behind: How many writers of the run lack something: they share what time attempts may take.

    Attributes:
        took: Seconds that the last one took which succeeded and makes the next one wait.
        failed_quickly: Whether the last one failed, and in next to no time: one more costs nothing.
    """

    def __init__(self, behind: Callable[[], int]) -> None:
        self.took = 0.0
        self.failed_quickly = False
        self._behind = behind
        self._begun = 0.0
        self._slow_epochs = 0  # in a row
        self._give_up_at = math.inf
        self._wait = 0.0
        self._next = 0.0

    def begin(self, seconds: float) -> None:
        """Begin one that is to take so many seconds at most."""
        self._begun = time.monotonic()
        self._give_up_at = self._begun + seconds

    def time_left(self) -> float:
        """Seconds until the one under way is to end."""
        return max(0.0, self._give_up_at - time.monotonic())

    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() >= self._next

    def failed(self) -> None:
        """The one under way failed: the next ones come ever later."""
        self._wait = min(max(FIRST_WAIT, 2 * self._wait), LONGEST_WAIT)
        seconds = time.monotonic() - self._begun
        self.failed_quickly = seconds < QUICKLY
        self._rest(seconds)

    def succeeded(self, lacks_more: bool, is_epoch: bool = False) -> None:
        """The one under way succeeded.

        Args:
            lacks_more: Whether the writer lacks epochs still.
            is_epoch: Whether it was an epoch as it came. What comes once, as opening does, or
                now and then, as a picture, may take its time.
        """
        self._wait, seconds = 0.0, time.monotonic() - self._begun
        self.failed_quickly = False
        if is_epoch:
            self._slow_epochs = self._slow_epochs + 1 if seconds > SLOW_EPOCH else 0
        if lacks_more or (is_epoch and self._slow_epochs >= SLOW_EPOCHS):
            self.took = seconds
            self._rest(seconds)

    def _rest(self, seconds: float) -> None:
        rest = WAIT_RATIO * seconds * max(self._behind(), 1)
        self._next = time.monotonic() + max(self._wait, rest)
