"""When a writer is tried, and for how long: what that may take of a training's time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from delve.delivery.standing import Standing

FIRST_WAIT = 1.0  # seconds before a writer that failed is tried again; doubled each time
LONGEST_WAIT = 300.0
WAIT_RATIO = 20.0  # times the attempt's own duration: attempts take at most 5 % of a run
ATTEMPT_TIME = 9.5  # seconds that a writer is to take at most for an epoch, or to close
CATCH_UP_TIME = 2.0  # seconds after which, within the training, no further epoch is fed again
QUICKLY = 0.1  # seconds
SLOW_EPOCH = 1.0  # seconds from which an epoch took long
SLOW_EPOCHS = 3  # in a row, after which they come only as often as WAIT_RATIO allows
PATIENCE = 60.0  # seconds that it may take, by default, to open it or to feed it at the end


class Attempts:
    """The attempts to give one writer something.

    Args:
        standings: Where each writer of the run stands: those that lack something share what time
            attempts may take.

    Attributes:
        took: Seconds that the last one took which succeeded and makes the next one wait.
        failed_quickly: Whether the last one failed, and in next to no time: one more costs nothing.
    """

    def __init__(self, standings: Sequence[Standing]) -> None:
        self.took = 0.0
        self.failed_quickly = False
        self._standings = standings
        # Of the one under way, on the monotonic clock:
        self._begun = 0.0
        self._last_epoch_by = math.inf
        self._give_up_at = math.inf
        # Of the next one:
        self._slow_epochs = 0  # in a row
        self._wait = 0.0  # seconds, because of failures
        self._due = 0.0

    def begin(self, seconds: float, feeding: float = math.inf) -> None:
        """Begin one.

        Args:
            seconds: How long it is to take at most.
            feeding: After how many seconds no further epoch is begun, if that comes first.
        """
        self._begun = time.monotonic()
        self._last_epoch_by = self._begun + feeding
        self._give_up_at = self._begun + seconds

    def time_left(self) -> float:
        """Seconds until the one under way is to end."""
        return max(0.0, self._give_up_at - time.monotonic())

    def may_feed_on(self) -> bool:
        """Whether the one under way may begin a further epoch."""
        return time.monotonic() <= self._last_epoch_by and self.time_left() > 0

    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() >= self._due

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
        behind = sum(standing.is_behind for standing in self._standings)
        rest = WAIT_RATIO * seconds * max(behind, 1)
        self._due = time.monotonic() + max(self._wait, rest)
