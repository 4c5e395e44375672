"""What is said of one writer's faults: each outage once, and no more than a person has to know."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from delve.base import entry_points as plugins
from delve.base.log import get_logger
from delve.delivery.attempts import WAIT_RATIO
from delve.delivery.discovery import GROUP
from delve.journal.pages import Page
from delve.records import enumerate_epochs

LONGEST_REASON = 1000  # characters of a failure's first line, which may name files to look at

logger = get_logger("delve.delivery")  # one name for all that is said of the delivery


class Notices:
    """Speaks of one writer.

    Args:
        writer: The writer's name.
    """

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self._is_named_as_slow = False

    def failed(self, failure: Exception, epoch: int) -> None:
        """It failed, for the first time after it had worked."""
        logger.warning(
            "writer %r failed at epoch %d: %s; the training goes on, and the writer is fed "
            "again from there later",
            self._writer,
            epoch,
            describe(failure),
        )

    def traceback(self, failure: Exception) -> None:
        """For whoever looks into a failure."""
        logger.debug("writer %r: its traceback", self._writer, exc_info=failure)

    def caught_up(self) -> None:
        """It had failed, and has got since what it lacked."""
        logger.info("writer %r has caught up", self._writer)

    def slow(self, seconds: float, patience: float) -> None:
        """It works, but takes too long; said once.

        Args:
            seconds: How long it took for what it got last.
            patience: How long it is fed at the end of the run.
        """
        if self._is_named_as_slow:
            return
        self._is_named_as_slow = True
        logger.warning(
            "writer %r is slow (%.1f s for what it got last) and falls behind: within the "
            "training it is fed for at most %.0f %% of the time, and what it lacks at the end "
            "for %.0f s, or as long as `patience` says",
            self._writer,
            seconds,
            100 / WAIT_RATIO,
            patience,
        )

    def cannot_resume(self, error: NotImplementedError, first: int) -> None:
        """It has a method to resume, which does nothing but raise."""
        logger.warning(
            "writer %r cannot resume (%s); it gets the epochs from %d on",
            self._writer,
            describe(error),
            first,
        )

    def page(self, page: Page) -> None:
        """The run has ended, and can be looked at."""
        logger.info("the run in %s: %s", self._writer, page)

    def failed_to_close(self, failure: Exception) -> None:
        """It could not be closed."""
        logger.warning("writer %r failed to close: %s", self._writer, describe(failure))

    def traceback_of_closing(self, failure: Exception) -> None:
        """For whoever looks into why it could not be closed."""
        logger.debug("its traceback", exc_info=failure)

    def undelivered(self, epochs: Sequence[int], journal: Path, folder: Path) -> None:
        """The run has ended, and it never got these epochs.

        Args:
            epochs: The epochs, in rising order.
            journal: Where they are.
            folder: The run's folder.
        """
        logger.warning(
            "writer %r did not get epochs %s; they are in %s: %s",
            self._writer,
            enumerate_epochs(epochs),
            journal,
            self._way_to_deliver(folder),
        )

    def _way_to_deliver(self, folder: Path) -> str:
        if self._writer in plugins.offers(GROUP):
            command = f"delve export {shlex.quote(str(folder))} --to {self._writer}"
            return f"`{command}` delivers them"
        return "resume the run with this writer in save_to to deliver them"


def describe(error: Exception) -> str:
    """The error's type and its first line, short enough for a log."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:LONGEST_REASON]}" if lines else type(error).__name__
