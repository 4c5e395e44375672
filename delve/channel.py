"""The way to one writer: what it lacks, when it is tried again, and what is said of its faults."""

from __future__ import annotations

import dataclasses
import logging
import math
import numbers
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from delve import plugins, signals
from delve.checked_writer import NamedWriter
from delve.discovery import GROUP
from delve.errors import BackendLostError, RejectedError, WriterConfigurationError
from delve.journal import Journal
from delve.records import EpochRecord, Metric, RunInfo, enumerate_epochs
from delve.refusals import Refusals

FIRST_WAIT = 1.0  # seconds before a writer that failed is tried again; doubled each time
LONGEST_WAIT = 300.0
WAIT_RATIO = 20.0  # times the attempt's own duration: attempts take at most 5 % of a run
CATCH_UP_TIME = 2.0  # seconds after which, within the training, no further epoch is fed again
LONGEST_REASON = 1000  # characters of a failure's first line, which may name files to look at
QUICK = 1.0  # seconds up to which a writer that fails to close is closed once more
SLOW_CALL = 10.0  # seconds from which a writer is named for blocking the training

logger = logging.getLogger("delve.delivery")  # one name for all that is said of the delivery


class Channel:
    """Feeds one writer, and feeds it again where it failed.

    Args:
        writer: The writer.
        journal: Where what it missed is read from.
        run: What it is told.
        behind: How many writers of the run lack something: they share what time attempts may take.

    Attributes:
        name: The writer's name.
        failure: Why its last call failed; None where it did not.
        refusals: What its backend refuses for good.
    """

    def __init__(
        self, writer: NamedWriter, journal: Journal, run: RunInfo, behind: Callable[[], int]
    ) -> None:
        self.name = writer.name
        self.failure: Exception | None = None
        self.refusals = Refusals(writer.name)
        self._hook = writer.hook
        # Without the epoch in its calls a writer cannot replace what it already holds of one.
        self._replaces = any(
            writer.arguments(hook) & {"epoch", "global_step"}
            for hook in ("add_scalar", "add_scalars", "save")
        )
        self._journal = journal
        self._behind = behind
        self._run = dataclasses.replace(
            run,
            config=_copied(run.config),
            state=journal.state(self.name),
            origin=journal.origin(self.name),
            may_be_copy=journal.may_be_copy,
            keep=lambda state: journal.remember(self.name, state),
        )
        self._opened = False
        self._resumes_at = run.initial_epoch  # when it is opened
        self._lacks: int | None = None  # from this epoch on; None: it is up to date
        self._begun: int | None = None  # the epoch that it may hold in part
        self._saved: int | None = None  # the epoch that it was given last
        self._missed: list[int] = []  # never to be fed: they may be there in part
        self._slow = False
        self._wait = 0.0
        self._retry_at = 0.0

    @property
    def is_behind(self) -> bool:
        """Whether the writer lacks epochs."""
        return self._lacks is not None

    def open(self) -> None:
        """Start or resume the writer, and feed it what it lacks.

        Raises:
            WriterConfigurationError: It can never work as it is set up.
        """
        first = self._run.initial_epoch
        self._attempt(first, lambda: self._catch_up(first - 1), WriterConfigurationError)

    def add_scalar(self, name: str, value: float, epoch: int, timestamp: int) -> None:
        """Pass a scalar on, unless the writer is behind: then it comes with its epoch."""
        if self._lacks is None:
            self._attempt(epoch, lambda: self._give_scalar(name, value, epoch, timestamp))

    def save(
        self, record: EpochRecord, arrays: Mapping[Metric, np.ndarray], layers: tuple[str, ...]
    ) -> None:
        """Pass an epoch on, or what is lacking up to it if it is time to try again."""
        if layers != self._run.layers:
            self._run = dataclasses.replace(self._run, layers=layers)
        if self._lacks is None:
            self._attempt(record.epoch, lambda: self._complete(record, arrays))
        elif time.monotonic() >= self._retry_at:
            until = time.monotonic() + CATCH_UP_TIME
            self._attempt(record.epoch, lambda: self._catch_up(record.epoch, arrays, until))

    def close(self, error: BaseException | None) -> None:
        """Feed what is lacking a last time, close the writer, and name what it did not get."""
        if self._lacks is not None:
            last = max(self._journal.epochs, default=-1)
            self._attempt(last, lambda: self._catch_up(last))
        try:
            self._close_writer(error)
        except Exception as failure:
            self.failure = failure
            logger.warning("writer %r failed to close: %s", self.name, describe(failure))
            logger.debug("its traceback", exc_info=failure)
        self._name_undelivered()

    def _close_writer(self, error: BaseException | None) -> None:
        """Close it; a fault that came quickly may pass as quickly, and nobody else tries again."""
        begun = time.monotonic()
        try:
            self._call("close", error=error)
        except Exception as failure:
            if time.monotonic() - begun > QUICK:
                raise
            logger.debug("writer %r is closed once more", self.name, exc_info=failure)
            self._call("close", error=error)

    def fall_behind(self, epoch: int) -> None:
        """The epoch did not get here whole: it is fed again, or named if that would double it."""
        if self._lacks is None and self._saved != epoch:
            self._lacks = epoch
        if self._begun is not None and not self._replaces:
            self._missed.append(self._begun)
            self._lacks = self._begun + 1
        self._begun = None

    def _attempt(
        self,
        epoch: int,
        action: Callable[[], None],
        passed_on: type[Exception] | tuple[()] = (),
    ) -> None:
        begun = time.monotonic()
        try:
            action()
        except passed_on:
            raise
        except Exception as failure:
            self._set_aside(failure, epoch, time.monotonic() - begun)
        else:
            self._restore(time.monotonic() - begun)

    def _catch_up(
        self,
        until: int,
        arrays: Mapping[Metric, np.ndarray] | None = None,
        deadline: float = math.inf,
    ) -> None:
        """Feed what is lacking up to ``until``, or as much of it as there is time for.

        Args:
            until: The last epoch to feed.
            arrays: What belongs to that epoch.
            deadline: On the monotonic clock.
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
            self._feed(self._journal.read(epoch), arrays or {} if epoch == until else {})
            self._lacks = epoch + 1
            if epoch != epochs[-1] and time.monotonic() > deadline:
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
            self._call("start")
        self._journal.mark_opened(self.name)
        return self._lacks if answer in (None, first) else answer

    def _resume(self, first: int) -> int | None:
        """Have the writer hold the epochs below ``first``; returns what it answers."""
        run = dataclasses.replace(
            self._run,
            initial_epoch=first,
            epochs=tuple(epoch for epoch in self._journal.epochs if epoch < first),
            metrics=self._journal.metrics,
        )
        try:
            answer = self._call("resume_from_saved_state", run, initial_epoch=first)
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

    def _feed(self, record: EpochRecord, arrays: Mapping[Metric, np.ndarray]) -> None:
        for name, value in record.scalars.items():
            self._give_scalar(name, value, record.epoch, record.timestamp)
        self._complete(record, arrays)

    def _give_scalar(self, name: str, value: float, epoch: int, timestamp: int) -> None:
        if name in self.refusals:
            return
        self._begun = epoch
        try:
            self._call("add_scalar", name=name, value=value, epoch=epoch, timestamp=timestamp)
        except RejectedError as error:
            self.refusals.note(error, [name])

    def _complete(self, record: EpochRecord, arrays: Mapping[Metric, np.ndarray]) -> None:
        """Give the rest of an epoch whose scalars the writer has, and have it saved."""
        self._begun = record.epoch
        metrics, taken = self.refusals.left_of(record.metrics), self.refusals.left_of(arrays)
        try:
            if metrics:
                self._give_metrics(metrics, record, taken)
            for name, value in taken.items():
                self._give_array(name, value, record)
            self._call("save", epoch=record.epoch, timestamp=record.timestamp)
        except RejectedError as error:
            self.refusals.note(error, [*record.scalars, *metrics, *taken])
            if not error.rest_arrived:
                self._feed(record, arrays)
        self._begun, self._saved = None, record.epoch

    def _give_metrics(
        self,
        metrics: dict[Metric, float],
        record: EpochRecord,
        arrays: Mapping[Metric, np.ndarray],
    ) -> None:
        self._call(
            "add_scalars",
            prefix="",
            value_dict=metrics,
            global_step=record.epoch,
            timestamp=record.timestamp,
            sample_value_dict={
                name: _read_only(value)
                for name, value in arrays.items()
                if name.stat == "embedded-sample"
            },
        )

    def _give_array(self, name: Metric, value: np.ndarray, record: EpochRecord) -> None:
        try:
            self._call(
                "add_array",
                name=name,
                value=_read_only(value),
                epoch=record.epoch,
                timestamp=record.timestamp,
            )
        except RejectedError as error:
            self.refusals.note(error, [name])

    def _call(self, hook: str, run: RunInfo | None = None, **arguments: Any) -> Any:
        begun = time.monotonic()
        try:
            with signals.interruptible():
                return getattr(self._hook, hook)(run=run or self._run, **arguments)
        finally:
            seconds = time.monotonic() - begun
            if seconds > SLOW_CALL and not self._slow:
                self._slow = True
                logger.warning(
                    "writer %r held the training up for %.0f s in %s", self.name, seconds, hook
                )

    def _set_aside(self, failure: Exception, epoch: int, seconds: float) -> None:
        self.fall_behind(epoch)
        if isinstance(failure, BackendLostError) and self._lacks is not None:
            self._opened, self._resumes_at = False, self._lacks
        self._wait = min(max(FIRST_WAIT, 2 * self._wait), LONGEST_WAIT)
        self._rest_after(seconds)
        if self.failure is None:
            logger.warning(
                "writer %r failed at epoch %d: %s; the training goes on, and the writer is fed "
                "again from there later",
                self.name,
                epoch,
                describe(failure),
            )
        logger.debug("writer %r: its traceback", self.name, exc_info=failure)
        self.failure = failure

    def _restore(self, seconds: float) -> None:
        self._wait = 0.0
        if self._lacks is not None:
            self._rest_after(seconds)
        elif self.failure is not None:
            logger.info("writer %r has caught up", self.name)
        self.failure = None

    def _rest_after(self, seconds: float) -> None:
        rest = WAIT_RATIO * seconds * max(self._behind(), 1)
        self._retry_at = time.monotonic() + max(self._wait, rest)

    def _name_undelivered(self) -> None:
        lacking = (
            []
            if self._lacks is None
            else [epoch for epoch in self._journal.epochs if epoch >= self._lacks]
        )
        epochs = sorted({*self._missed, *lacking})
        if epochs:
            logger.warning(
                "writer %r did not get epochs %s; they are in %s: %s",
                self.name,
                enumerate_epochs(epochs),
                self._journal.path,
                self._way_to_deliver(),
            )

    def _way_to_deliver(self) -> str:
        if self.name in plugins.offers(GROUP):
            folder = shlex.quote(str(self._run.savefile))
            return f"`delve export {folder} --to {self.name}` delivers them"
        return "resume the run with this writer in save_to to deliver them"


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


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
