"""What a writer is given: its hooks, called one at a time, without what its backend refuses."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from delve.base import signals
from delve.base.log import get_logger
from delve.delivery.checked_writer import NamedWriter
from delve.delivery.refusals import Refusals
from delve.errors import RejectedError
from delve.records import EpochRecord, Metric, RunInfo

QUICK = 1.0  # seconds up to which a writer that fails to close is closed once more
SLOW_CALL = 10.0  # seconds from which a writer is named for blocking the training

logger = get_logger("delve.delivery")  # one name for all that is said of the delivery


class Feed:
    """Calls the hooks of one writer.

    Args:
        writer: The writer.
        run: What it is told.

    Attributes:
        run: What it is told, from the next call on.
        refusals: What its backend refuses for good.
        begun: The epoch that it may hold in part; None where there is none.
        saved: The epoch that it was given last.
    """

    def __init__(self, writer: NamedWriter, run: RunInfo) -> None:
        self.run = dataclasses.replace(run, config=_copied(run.config))
        self.refusals = Refusals(writer.name)
        self.begun: int | None = None
        self.saved: int | None = None
        self._name = writer.name
        self._hook = writer.hook
        self._is_named = False

    def call(self, hook: str, run: RunInfo | None = None, **arguments: Any) -> Any:
        """Call one hook; handlers of signals may come in."""
        begun = time.monotonic()
        try:
            with signals.interruptible():
                return getattr(self._hook, hook)(run=run or self.run, **arguments)
        finally:
            seconds = time.monotonic() - begun
            if seconds > SLOW_CALL and not self._is_named:
                self._is_named = True
                logger.warning(
                    "writer %r held the training up for %.0f s in %s", self._name, seconds, hook
                )

    def epoch(self, record: EpochRecord, arrays: Mapping[Metric, np.ndarray]) -> None:
        """Give a whole epoch."""
        for name, value in record.scalars.items():
            self.scalar(name, value, record.epoch, record.timestamp)
        self.rest_of(record, arrays)

    def scalar(self, name: str, value: float, epoch: int, timestamp: int) -> None:
        """Give a scalar of the user's."""
        if name in self.refusals:
            return
        self.begun = epoch
        try:
            self.call("add_scalar", name=name, value=value, epoch=epoch, timestamp=timestamp)
        except RejectedError as error:
            self.refusals.note(error, [name])

    def rest_of(self, record: EpochRecord, arrays: Mapping[Metric, np.ndarray]) -> None:
        """Give what is left of an epoch whose scalars the writer has, and have it saved."""
        self.begun = record.epoch
        metrics, taken = self.refusals.left_of(record.metrics), self.refusals.left_of(arrays)
        try:
            if metrics:
                self._metrics(metrics, record, taken)
            for name, value in taken.items():
                self._array(name, value, record)
            self.call("save", epoch=record.epoch, timestamp=record.timestamp, step=record.step)
        except RejectedError as error:
            self.refusals.note(error, [*record.scalars, *metrics, *taken])
            if not error.rest_arrived:
                self.epoch(record, arrays)
        self.begun, self.saved = None, record.epoch

    def close(self, error: BaseException | None) -> None:
        """Close it; a fault that came quickly may pass as quickly, and nobody else tries again."""
        begun = time.monotonic()
        try:
            self.call("close", error=error)
        except Exception as failure:
            if time.monotonic() - begun > QUICK:
                raise
            logger.debug("writer %r is closed once more", self._name, exc_info=failure)
            self.call("close", error=error)

    def _metrics(
        self,
        metrics: dict[Metric, float],
        record: EpochRecord,
        arrays: Mapping[Metric, np.ndarray],
    ) -> None:
        self.call(
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
            step=record.step,
        )

    def _array(self, name: Metric, value: np.ndarray, record: EpochRecord) -> None:
        try:
            self.call(
                "add_array",
                name=name,
                value=_read_only(value),
                epoch=record.epoch,
                timestamp=record.timestamp,
                step=record.step,
            )
        except RejectedError as error:
            self.refusals.note(error, [name])


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
