"""The way to one writer: what it is given when, and what becomes of it where it fails."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from delve.delivery.attempts import ATTEMPT_TIME, CATCH_UP_TIME, PATIENCE, Attempts
from delve.delivery.checked_writer import NamedWriter
from delve.delivery.feed import Feed
from delve.delivery.notices import Notices
from delve.delivery.opening import open_writer
from delve.delivery.standing import Standing
from delve.errors import BackendLostError, RejectedError, UndeliveredError, WriterConfigurationError
from delve.journal.journal import Journal
from delve.journal.pages import page_of
from delve.records import Axis, EpochRecord, Metric, RunInfo


class Channel:
    """Feeds one writer, and feeds it again where it failed.

    Each part knows one thing, and this one ties them together: :class:`Standing` which epochs the
    writer lacks, :class:`Attempts` when it may be called and for how long, :class:`Feed` how its
    hooks are called, :class:`Notices` what is said of it.

    Args:
        writer: The writer.
        journal: Where what it missed is read from.
        run: What it is told.
        standings: Where each writer of the run stands; this one is added.
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
        standings: list[Standing],
        patience: float = PATIENCE,
    ) -> None:
        self.name = writer.name
        self.failure: Exception | None = None
        self._replaces = writer.knows_epochs
        self._stores_arrays = writer.implements("add_array")
        self._journal = journal
        self._patience = patience
        self._standing = Standing(run.initial_epoch)
        standings.append(self._standing)
        self._attempts = Attempts(standings)
        self._notices = Notices(self.name)
        self._feed = Feed(
            writer,
            dataclasses.replace(
                run,
                state=journal.state(self.name),
                origin=journal.origin(self.name),
                may_be_copy=journal.may_be_copy,
                keep=lambda state: journal.remember(self.name, state),
                time_left=self._attempts.time_left,
            ),
        )

    def take_refusal(self) -> RejectedError | None:
        """What its backend has refused since this was asked, for whoever has to raise it."""
        return self._feed.refusals.take_last()

    def open(self) -> None:
        """Start or resume the writer, and feed it what it lacks.

        Raises:
            WriterConfigurationError: It can never work as it is set up.
        """
        first = self._standing.first_lacking
        self._attempts.begin(self._patience)
        with self._attempt(first, passed_on=WriterConfigurationError):
            self._catch_up(first - 1)

    def add_scalar(self, name: str, value: float, epoch: int, timestamp: int) -> None:
        """Pass a scalar on, unless the writer is behind: then it comes with its epoch."""
        if not self._standing.is_behind:
            self._attempts.begin(ATTEMPT_TIME)
            with self._attempt(epoch):
                self._feed.scalar(name, value, epoch, timestamp)

    def save(
        self, record: EpochRecord, arrays: Mapping[Metric, np.ndarray], layers: tuple[str, ...]
    ) -> None:
        """Pass an epoch on, or what is lacking up to it if it is time to try again."""
        axis: Axis = "epoch" if record.step is None else "step"
        if (layers, axis) != (self._feed.run.layers, self._feed.run.axis):
            self._feed.run = dataclasses.replace(self._feed.run, layers=layers, axis=axis)
        is_due = self._attempts.is_due()
        takes_arrays = self._stores_arrays and bool(arrays)
        if self._standing.is_behind:
            if is_due or (takes_arrays and self._attempts.failed_quickly):
                self._attempts.begin(ATTEMPT_TIME, CATCH_UP_TIME)
                with self._attempt(record.epoch):
                    self._catch_up(record.epoch, arrays)
        elif is_due or takes_arrays or not self._can_be_put_off():
            self._attempts.begin(ATTEMPT_TIME)
            with self._attempt(record.epoch, is_epoch=True):
                self._feed.rest_of(record, arrays)
        else:
            self._standing.fall_behind(record.epoch)
            self._notices.slow(self._attempts.took, self._patience)

    def _can_be_put_off(self) -> bool:
        """Whether the epoch may come later, from the journal, which has it without its arrays.

        A writer that cannot replace what it has of it, since it was logged, would have that twice.
        """
        return self._replaces or self._feed.begun is None

    def close(self, error: BaseException | None) -> None:
        """Feed what is lacking a last time, close the writer, and name what it did not get."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._name_undelivered)
            stack.callback(_to_its_end, lambda: self._close_writer(error))
            # Who has interrupted the opening of the run is not kept waiting for more of it.
            if self._standing.is_open or error is None or isinstance(error, Exception):
                _to_its_end(self._feed_the_rest)

    def _feed_the_rest(self) -> None:
        if not self._standing.is_behind:
            return
        last = max(self._journal.epochs, default=-1)
        self._attempts.begin(self._patience)
        with self._attempt(last):
            self._catch_up(last)

    def _close_writer(self, error: BaseException | None) -> None:
        self._attempts.begin(ATTEMPT_TIME)
        try:
            self._feed.close(error)
        except Exception as failure:
            self.failure = failure
            self._take_back(failure)
            if not self._journal.is_deleted:  # all has been said of that
                self._notices.failed_to_close(failure)
            self._notices.traceback_of_closing(failure)

    def _name_undelivered(self) -> None:
        epochs = sorted({*self._standing.given_up, *self._lacking()})
        if epochs and not self._journal.is_deleted:
            self._notices.undelivered(epochs, self._journal.path, self._feed.run.savefile)

    def _lacking(self, until: float = math.inf) -> list[int]:
        """The recorded epochs that the writer is still to be given, up to that one."""
        if not self._standing.is_behind:
            return []
        first = self._standing.first_lacking
        return [epoch for epoch in self._journal.epochs if first <= epoch <= until]

    def name_page(self) -> None:
        """Say where the run can be looked at, if the writer knows."""
        page = page_of(self._feed.run.state)
        if page and not self._journal.is_deleted:
            self._notices.page(page)

    def fall_behind(self, epoch: int) -> None:
        """The epoch did not get here whole: it is fed again, or named if that would double it."""
        begun, self._feed.begun = self._feed.begun, None
        if self._feed.saved != epoch:
            self._standing.fall_behind(epoch)
        if begun is not None and not self._replaces:
            self._standing.give_up(begun)

    @contextlib.contextmanager
    def _attempt(
        self,
        epoch: int,
        is_epoch: bool = False,
        passed_on: type[Exception] | tuple[()] = (),
    ) -> Iterator[None]:
        """Give the writer something: what it raises is taken for a fault of its backend."""
        try:
            yield
        except passed_on:
            raise
        except Exception as failure:
            self._set_aside(failure, epoch)
        else:
            self._restore(is_epoch)

    def _catch_up(self, until: int, arrays: Mapping[Metric, np.ndarray] | None = None) -> None:
        """Feed what is lacking up to ``until``, or as much of it as there is time for.

        Args:
            until: The last epoch to feed.
            arrays: What belongs to that epoch.
        """
        if not self._standing.is_open:
            open_writer(self.name, self._feed, self._standing, self._journal, self._notices)
        epochs = self._lacking(until)
        for epoch in self._with_progress(epochs):
            record = self._journal.read(epoch)
            try:
                self._feed.epoch(record, arrays or {} if epoch == until else {})
            except BaseException:  # an interrupt too, in the opening and the closing of a run
                self.fall_behind(epoch)
                raise
            self._standing.take(epoch)
            if epoch != epochs[-1] and not self._attempts.may_feed_on():
                return
        self._standing.catch_up()

    def _with_progress(self, epochs: Sequence[int]) -> Iterable[int]:
        """The epochs, with a bar on the console where they take long."""
        if not epochs:  # as at the start of every run: no need for the thread of a bar
            return epochs
        return tqdm(
            epochs, f"feeding {self.name}", unit="epoch", delay=1, leave=False, disable=None
        )

    def _set_aside(self, failure: Exception, epoch: int) -> None:
        self.fall_behind(epoch)
        self._take_back(failure)
        if isinstance(failure, BackendLostError):
            self._standing.lose_backend()
        self._attempts.failed()
        if self.failure is None and not self._journal.is_deleted:
            self._notices.failed(failure, epoch)
        self._notices.traceback(failure)
        self.failure = failure

    def _take_back(self, failure: Exception) -> None:
        """Count as lacking what the writer was given before, and says not to have delivered."""
        if isinstance(failure, BackendLostError | UndeliveredError) and failure.first is not None:
            self._standing.take_back(failure.first)

    def _restore(self, is_epoch: bool) -> None:
        is_behind = self._standing.is_behind
        self._attempts.succeeded(is_behind, is_epoch)
        if is_behind and self.failure is None:
            self._notices.slow(self._attempts.took, self._patience)
        elif not is_behind and self.failure is not None:
            self._notices.caught_up()
        self.failure = None


def _to_its_end(step: Callable[[], None]) -> None:
    """Take a step of closing to its end though a handler of a signal comes in and exits.

    A second one ends it, and so does Ctrl-C.
    """
    try:
        step()
    except SystemExit:
        step()
        raise
