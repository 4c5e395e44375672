"""Feeds the writers from the journal: one at a time, each apart from the failures of the others."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from delve.delivery.attempts import PATIENCE
from delve.delivery.channel import Channel
from delve.delivery.checked_writer import NamedWriter
from delve.delivery.notices import describe
from delve.delivery.standing import Standing
from delve.errors import WriterFailedError
from delve.journal.journal import Journal
from delve.records import EpochRecord, Metric, RunInfo


class Delivery:
    """Carries a run's records to its writers.

    Args:
        writers: The writers, in the order in which they are fed.
        journal: Where what a writer missed is read from.
        run: What all of them are told; each gets a copy with its own ``state``.
        raise_errors: Whether a writer's failure is raised, once all writers were served.
        raise_refusals: Whether that a backend refuses an item is raised too.
        patience: Seconds that it may take to open a writer, and to feed it at the end.
    """

    def __init__(
        self,
        writers: Sequence[NamedWriter],
        journal: Journal,
        run: RunInfo,
        raise_errors: bool = False,
        raise_refusals: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        standings: list[Standing] = []  # each channel adds its own, and sees all
        self._channels = [Channel(writer, journal, run, standings, patience) for writer in writers]
        self._raise_errors = raise_errors
        self._raise_refusals = raise_refusals
        self._feeding: int | None = None  # the thread that feeds the writers just now

    @property
    def is_feeding(self) -> bool:
        """Whether the caller is a writer that is being fed."""
        return self._feeding == threading.get_ident()

    @property
    def names(self) -> tuple[str, ...]:
        """The writers' names, in the order in which they are fed."""
        return tuple(channel.name for channel in self._channels)

    def open(self) -> None:
        """Start or resume each writer, and feed it what it lacks.

        Raises:
            WriterConfigurationError: A writer can never work as it is set up.
        """
        with self._calling_writers():
            for channel in self._channels:
                channel.open()

    def add_scalar(self, name: str, value: float, epoch: int, timestamp: int) -> None:
        """Pass a scalar on as soon as the user logs it."""
        self._broadcast(epoch, lambda channel: channel.add_scalar(name, value, epoch, timestamp))

    def save(
        self, record: EpochRecord, arrays: Mapping[Metric, np.ndarray], layers: Sequence[str]
    ) -> None:
        """Pass on an epoch that the journal already holds."""
        self._broadcast(record.epoch, lambda channel: channel.save(record, arrays, tuple(layers)))

    def close(self, error: BaseException | None) -> None:
        """Feed what is still undelivered a last time, then close every writer."""
        with self._calling_writers(raise_errors=error is None), contextlib.ExitStack() as stack:
            for channel in reversed(self._channels):
                stack.callback(channel.close, error)  # so that an interrupt ends one close alone
        for channel in self._channels:
            channel.name_page()

    def fall_behind(self, epoch: int) -> None:
        """Have every writer that did not get the epoch whole be fed it again."""
        for channel in self._channels:
            channel.fall_behind(epoch)

    def _broadcast(self, epoch: int, call: Callable[[Channel], None]) -> None:
        with self._calling_writers():
            for place, channel in enumerate(self._channels):
                try:
                    call(channel)
                except BaseException:  # an interrupt, after which the run may go on or be closed
                    for unserved in self._channels[place:]:
                        unserved.fall_behind(epoch)
                    raise

    @contextlib.contextmanager
    def _calling_writers(self, raise_errors: bool = True) -> Iterator[None]:
        self._feeding = threading.get_ident()
        try:
            yield
        finally:
            self._feeding = None
        if raise_errors:
            for channel in self._channels:
                fault = self._fault(channel)
                if fault:
                    raise WriterFailedError(
                        f"writer {channel.name!r} failed: {describe(fault)}"
                    ) from fault

    def _fault(self, channel: Channel) -> Exception | None:
        """What of a writer's is to be raised, if anything."""
        refusal = channel.take_refusal()
        if self._raise_errors and channel.failure:
            return channel.failure
        return refusal if self._raise_refusals else None
