"""One run's records on their way: the folder's lock, the journal, and the delivery to writers."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from delve.base.log import get_logger
from delve.delivery.attempts import PATIENCE
from delve.delivery.checked_writer import NamedWriter
from delve.delivery.delivery import Delivery
from delve.journal.clock import now_in_ms
from delve.journal.earlier import move_aside
from delve.journal.journal import Journal
from delve.journal.lock import FolderLock
from delve.records import Axis, EpochRecord, RunInfo, StagedEpoch

logger = get_logger(__name__)


class Run:
    """A run that is open for writing, in the one process that writes.

    Args:
        folder: The run's folder.
        initial_epoch: 0 for a new run, else the epoch from which it goes on.
        layers: The names of the tracked layers.
        config: Hyperparameters.
        writers: The writers to feed.
        images: Whether writers may write images.
        raise_errors: Whether a writer's failure is raised.
        arrays: The selected statistics that are arrays, to say so where no writer stores any.
        array_groups: The same as ``{mode}-{stat}``, for the writers.
        patience: Seconds that it may take to open a writer, and to feed it at the end.
        initial_step: The training step that the user has resumed by, if there was one.
        overwrite: Whether a new run replaces an earlier one in the folder, which is moved aside
            otherwise.
    """

    def __init__(
        self,
        folder: Path,
        initial_epoch: int,
        layers: Sequence[str],
        config: Mapping[str, Any],
        writers: Sequence[NamedWriter],
        images: bool = True,
        raise_errors: bool = False,
        arrays: Sequence[str] = (),
        array_groups: Sequence[str] = (),
        patience: float = PATIENCE,
        initial_step: int | None = None,
        overwrite: bool = False,
    ) -> None:
        if arrays and not any(writer.implements("add_array") for writer in writers):
            logger.warning(
                "no selected writer stores arrays, so these statistics are not saved as such: %s; "
                "npy does",
                ", ".join(arrays),
            )
        with contextlib.ExitStack() as undo:
            lock = FolderLock(folder)
            undo.callback(lock.release)
            moves = initial_epoch == 0 and not overwrite
            moved = move_aside(folder) if moves else None
            self._journal = Journal.open(
                folder, initial_epoch, layers, config, replaces_earlier=moved is not None
            )
            undo.callback(self._journal.close)
            info = RunInfo(
                savefile=folder,
                run_id=self._journal.run_id,
                created=self._journal.created,
                layers=self._journal.layers,
                config=config or self._journal.config,
                initial_epoch=initial_epoch,
                images=images,
                arrays=tuple(array_groups),
                epochs=tuple(self._journal.epochs),
                metrics=self._journal.metrics,
                steps=self._journal.steps,
                initial_step=initial_step,
                axis=self.axis or "epoch",
            )
            self._journal.begin()
            undo.push(lambda _kind, error, _traceback: self._journal.end(error))
            self._delivery = Delivery(
                writers, self._journal, info, raise_errors, raise_errors, patience
            )
            undo.push(lambda _kind, error, _traceback: self._delivery.close(error))
            self._delivery.open()
            # What writers remember of their backends: an epoch may be long, and come to nothing.
            self._journal.sync()
            self._undo = undo.pop_all()  # in the order of closing: writers, journal, lock

    @property
    def order(self) -> tuple[str, ...]:
        """The forward order of the layers, if an earlier part of the run recorded it."""
        return self._journal.layers if self._journal.epochs else ()

    @property
    def axis(self) -> Axis | None:
        """What the x axis of the run is; None before the first row."""
        if self._journal.steps:
            return "step"
        return "epoch" if self._journal.epochs else None

    @property
    def last_step(self) -> int | None:
        """The training step of the last row, if rows have steps."""
        return next(reversed(self._journal.steps.values()), None)

    @property
    def last_step_of_layers(self) -> int:
        """The training step of the last row that has statistics of layers; 0 without any.

        A run that ends makes a row of the scalars that are left, for which no turn had come.
        """
        rows = reversed(self._journal.steps.items())
        return next((step for epoch, step in rows if self._journal.read(epoch).metrics), 0)

    @property
    def writers(self) -> tuple[str, ...]:
        """The writers' names."""
        return self._delivery.names

    @property
    def is_feeding(self) -> bool:
        """Whether the caller is a writer that is being fed."""
        return self._delivery.is_feeding

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        """Pass a scalar of the user's on at once."""
        self._delivery.add_scalar(name, value, epoch, now_in_ms())

    def save(self, epoch: int, staged: StagedEpoch, layers: Sequence[str]) -> None:
        """Record an epoch: into the journal, then to every writer."""
        record = EpochRecord(
            epoch,
            now_in_ms(),
            staged.scalars,
            staged.metrics,
            staged.few_samples,
            staged.step,
            staged.features,
        )
        try:
            self._journal.write_epoch(record, layers)
            self._delivery.save(record, staged.arrays, layers)
        except BaseException:  # an interrupt, after which the run may go on
            self._delivery.fall_behind(epoch)
            raise

    def close(self, error: BaseException | None) -> None:
        """Close the writers, the journal and the folder."""
        self._undo.__exit__(type(error) if error else None, error, None)


class SilentRun:
    """Stands in for the run in the processes that do not write."""

    order: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    is_feeding = False

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        """Do nothing."""

    def save(self, *_: object) -> None:
        """Do nothing."""

    def close(self, error: BaseException | None) -> None:
        """Do nothing."""
