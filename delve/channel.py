"""The way to one writer: what it lacks, when it is tried again, and what is said of its faults."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import numbers
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from delve import plugins
from delve.attempts import ATTEMPT_TIME, PATIENCE, WAIT_RATIO, Attempts
from delve.checked_writer import NamedWriter
from delve.discovery import GROUP
from delve.errors import (
    BackendLostError,
    RejectedError,
    UndeliveredError,
    WriterConfigurationError,
)
from delve.feed import Feed
from delve.journal import Journal
from delve.log import get_logger
from delve.records import EpochRecord, Metric, RunInfo, enumerate_epochs

CATCH_UP_TIME = 2.0  # seconds after which, within the training, no further epoch is fed again
LONGEST_REASON = 1000  # characters of a failure's first line, which may name files to look at

logger = get_logger("delve.delivery")  # one name for all that is said of the delivery


class Channel:
    """Feeds one writer, and feeds it again where it failed.

    Args:
        writer: The writer.
        journal: Where what it missed is read from.
        run: What it is told.
        behind: How many writers of the run lack something: they share what time attempts may take.
        patience: Seconds that it may take to open the writer, and to feed it what it lacks at the
            end of the run.

    Attributes:
        name: The writer's name.
        failure: Why its last call failed; None where it did not.
    """

    def __init__(
        self,
        writer: NamedWriter,
        journal: Journal,
        run: RunInfo,
        behind: Callable[[], int],
        patience: float = PATIENCE,
    ) -> None:
        self.name = writer.name
        self.failure: Exception | None = None
        # Without the epoch in its calls a writer cannot replace what it already holds of one.
        self._replaces = any(
            writer.arguments(hook) & {"epoch", "global_step"}
            for hook in ("add_scalar", "add_scalars", "save")
        )
        self._stores_arrays = writer.implements("add_array")
        self._journal = journal
        self._patience = patience
        self._attempts = Attempts(behind)
        self._feed = Feed(
            writer,
            dataclasses.replace(
                run,
                config=_copied(run.config),
                state=journal.state(self.name),
                origin=journal.origin(self.name),
                may_be_copy=journal.may_be_copy,
                keep=lambda state: journal.remember(self.name, state),
                time_left=self._attempts.time_left,
            ),
        )
        self._opened = False
        self._resumes_at = run.initial_epoch  # when it is opened
        self._lacks: int | None = None  # from this epoch on; None: it is up to date
        self._missed: list[int] = []  # never to be fed: they may be there in part
        self._is_named_as_slow = False

    def take_refusal(self) -> RejectedError | None:
        """What its backend has refused since this was asked, for whoever has to raise it."""
        return self._feed.refusals.take_last()

    @property
    def is_behind(self) -> bool:
        """Whether the writer lacks epochs."""
        return self._lacks is not None

    def open(self) -> None:
        """Start or resume the writer, and feed it what it lacks.

        Raises:
            WriterConfigurationError: It can never work as it is set up.
        """
        first = self._resumes_at
        self._attempt(
            first, lambda: self._catch_up(first - 1), self._patience, WriterConfigurationError
        )

    def add_scalar(self, name: str, value: float, epoch: int, timestamp: int) -> None:
        """Pass a scalar on, unless the writer is behind: then it comes with its epoch."""
        if self._lacks is None:
            give = functools.partial(self._feed.scalar, name, value, epoch, timestamp)
            self._attempt(epoch, give, ATTEMPT_TIME)

    def save(
        self, record: EpochRecord, arrays: Mapping[Metric, np.ndarray], layers: tuple[str, ...]
    ) -> None:
        """Pass an epoch on, or what is lacking up to it if it is time to try again."""
        if layers != self._feed.run.layers:
            self._feed.run = dataclasses.replace(self._feed.run, layers=layers)
        is_due = self._attempts.is_due()
        if self._lacks is None and (is_due or not self._can_wait(arrays)):
            give = functools.partial(self._feed.rest_of, record, arrays)
            self._attempt(record.epoch, give, ATTEMPT_TIME, is_epoch=True)
        elif self._lacks is None:
            self._lacks = record.epoch
            self._name_as_slow()
        elif is_due or (arrays and self._stores_arrays and self._attempts.failed_quickly):
            pause = time.monotonic() + CATCH_UP_TIME
            catch_up = functools.partial(self._catch_up, record.epoch, arrays, pause)
            self._attempt(record.epoch, catch_up, ATTEMPT_TIME)

    def _can_wait(self, arrays: Mapping[Metric, np.ndarray]) -> bool:
        """Whether the epoch may come later, as one that is fed again: whole, without its arrays.

        A writer that cannot replace what it has of it, since it was logged, would have that twice.
        """
        return not (arrays and self._stores_arrays) and (self._replaces or self._feed.begun is None)

    def close(self, error: BaseException | None) -> None:
        """Feed what is lacking a last time, close the writer, and name what it did not get."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._name_undelivered)
            stack.callback(self._whatever_comes, lambda: self._close_writer(error))
            # Who has interrupted the opening of the run is not kept waiting for more of it.
            if self._opened or error is None or isinstance(error, Exception):
                self._whatever_comes(self._feed_the_rest)

    def _whatever_comes(self, step: Callable[[], None]) -> None:
        """Take a step of closing to its end though a handler of a signal comes in and exits.

        A second one ends it, and so does Ctrl-C.
        """
        try:
            step()
        except SystemExit:
            step()
            raise

    def _feed_the_rest(self) -> None:
        last = max(self._journal.epochs, default=-1)
        if self._lacks is not None:
            try:
                self._attempt(last, lambda: self._catch_up(last), self._patience)
            except BaseException:
                self.fall_behind(self._lacks)
                raise

    def _close_writer(self, error: BaseException | None) -> None:
        self._attempts.begin(ATTEMPT_TIME)
        try:
            self._feed.close(error)
        except Exception as failure:
            self.failure = failure
            self._take_back(failure)
            if not self._journal.is_deleted:  # all has been said of that
                logger.warning("writer %r failed to close: %s", self.name, describe(failure))
            logger.debug("its traceback", exc_info=failure)

    def fall_behind(self, epoch: int) -> None:
        """The epoch did not get here whole: it is fed again, or named if that would double it."""
        begun, self._feed.begun = self._feed.begun, None
        if self._lacks is None and self._feed.saved != epoch:
            self._lacks = epoch
        if begun is not None and not self._replaces:
            self._missed.append(begun)
            self._lacks = begun + 1

    def _attempt(
        self,
        epoch: int,
        action: Callable[[], None],
        seconds: float,
        passed_on: type[Exception] | tuple[()] = (),
        is_epoch: bool = False,
    ) -> None:
        self._attempts.begin(seconds)
        try:
            action()
        except passed_on:
            raise
        except Exception as failure:
            self._set_aside(failure, epoch)
        else:
            self._restore(is_epoch)

    def _catch_up(
        self,
        until: int,
        arrays: Mapping[Metric, np.ndarray] | None = None,
        pause: float = math.inf,
    ) -> None:
        """Feed what is lacking up to ``until``, or as much of it as there is time for.

        Args:
            until: The last epoch to feed.
            arrays: What belongs to that epoch.
            pause: From when on the monotonic clock no further epoch is begun, if that comes before
                the end of the attempt.
        """
        if not self._opened:
            self._lacks = self._open_writer()
            self._opened = True
        if self._lacks is None:
            return
        epochs = [epoch for epoch in self._journal.epochs if self._lacks <= epoch <= until]
        progress = tqdm(
            epochs, f"feeding {self.name}", unit="epoch", delay=1, leave=False, disable=None
        )
        for epoch in progress:
            self._feed.epoch(self._journal.read(epoch), arrays or {} if epoch == until else {})
            self._lacks = epoch + 1
            is_over = time.monotonic() > pause or not self._attempts.time_left()
            if is_over and epoch != epochs[-1]:
                return
        self._lacks = None

    def _open_writer(self) -> int | None:
        """Start or resume; returns the first epoch to feed from the journal, if any."""
        first = int(min(self._resumes_at, self._journal.sound_below(self.name)))
        if first < self._resumes_at:  # the run went back, or began anew, while the writer was away
            self._lacks = self._resumes_at = first
        answer = None
        if first:
            answer = self._resume(first)
        else:
            self._feed.call("start")
        self._journal.mark_opened(self.name)
        return self._lacks if answer in (None, first) else answer

    def _resume(self, first: int) -> int | None:
        """Have the writer hold the epochs below ``first``; returns what it answers."""
        run = dataclasses.replace(
            self._feed.run,
            initial_epoch=first,
            epochs=tuple(epoch for epoch in self._journal.epochs if epoch < first),
            metrics=self._journal.metrics,
        )
        try:
            answer = self._feed.call("resume_from_saved_state", run, initial_epoch=first)
        except NotImplementedError as error:
            logger.warning(
                "writer %r cannot resume (%s); it gets the epochs from %d on",
                self.name,
                describe(error),
                first,
            )
            return None
        if answer is None:
            return None
        if not isinstance(answer, numbers.Integral) or not 0 <= int(answer) <= first:
            raise ValueError(
                f"resume_from_saved_state returned {answer!r}; it must return the first epoch "
                f"that the backend lacks, from 0 to {first}, or None"
            )
        return int(answer)

    def _set_aside(self, failure: Exception, epoch: int) -> None:
        self.fall_behind(epoch)
        self._take_back(failure)
        if isinstance(failure, BackendLostError) and self._lacks is not None:
            self._opened, self._resumes_at = False, self._lacks
        self._attempts.failed()
        if self.failure is None and not self._journal.is_deleted:
            logger.warning(
                "writer %r failed at epoch %d: %s; the training goes on, and the writer is fed "
                "again from there later",
                self.name,
                epoch,
                describe(failure),
            )
        logger.debug("writer %r: its traceback", self.name, exc_info=failure)
        self.failure = failure

    def _take_back(self, failure: Exception) -> None:
        """Count what the writer was given before, and has not delivered, as lacking."""
        if isinstance(failure, BackendLostError | UndeliveredError) and failure.first is not None:
            self._lacks = failure.first if self._lacks is None else min(self._lacks, failure.first)

    def _restore(self, is_epoch: bool) -> None:
        self._attempts.succeeded(self._lacks is not None, is_epoch)
        if self._lacks is not None and self.failure is None:
            self._name_as_slow()
        elif self._lacks is None and self.failure is not None:
            logger.info("writer %r has caught up", self.name)
        self.failure = None

    def _name_as_slow(self) -> None:
        if not self._is_named_as_slow:
            self._is_named_as_slow = True
            logger.warning(
                "writer %r is slow (%.1f s for what it got last) and falls behind: within the "
                "training it is fed for at most %.0f %% of the time, and what it lacks at the end "
                "for %.0f s, or as long as `patience` says",
                self.name,
                self._attempts.took,
                100 / WAIT_RATIO,
                self._patience,
            )

    def _name_undelivered(self) -> None:
        lacking = (
            []
            if self._lacks is None
            else [epoch for epoch in self._journal.epochs if epoch >= self._lacks]
        )
        epochs = sorted({*self._missed, *lacking})
        if epochs and not self._journal.is_deleted:
            logger.warning(
                "writer %r did not get epochs %s; they are in %s: %s",
                self.name,
                enumerate_epochs(epochs),
                self._journal.path,
                self._way_to_deliver(),
            )

    def _way_to_deliver(self) -> str:
        if self.name in plugins.offers(GROUP):
            folder = shlex.quote(str(self._feed.run.savefile))
            return f"`delve export {folder} --to {self.name}` delivers them"
        return "resume the run with this writer in save_to to deliver them"


def _copied(value: Any) -> Any:
    """A copy of nested hyperparameters: a writer that changes its own harms nobody."""
    match value:
        case Mapping():
            return {key: _copied(item) for key, item in value.items()}
        case list():
            return [_copied(item) for item in value]
        case _:
            return value


def describe(error: Exception) -> str:
    """The error's type and its first line, short enough for a log."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:LONGEST_REASON]}" if lines else type(error).__name__
