"""A recorded run on its way into further writers: replayed from its journal, as often as wanted."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pluggy import Result
from tqdm import tqdm

from delve.delivery.checked_writer import NamedWriter
from delve.delivery.delivery import Delivery
from delve.delivery.discovery import make_writers
from delve.errors import DelveError, JournalError, RejectedError, WriterFailedError
from delve.journal.journal import Journal
from delve.journal.lock import FolderLock
from delve.journal.stored_run import read_run
from delve.records import RunInfo, enumerate_epochs


@dataclass(frozen=True)
class Outcome:
    """What became of one writer.

    Attributes:
        writer: Its name.
        epochs: The epochs that it was given; those before, it held already.
        error: What went wrong, None where nothing did.
    """

    writer: str
    epochs: list[int]
    error: str | None


def export(
    folder: Path,
    save_to: str | object | Sequence[str | object],
    writer_args: Mapping[str, Any] | None = None,
) -> Iterator[Outcome]:
    """Replay a run into writers, with the timestamps of its journal; yields as each is done.

    A writer gets what it asks for, as on a resume: what it lacks, or cannot tell that it holds. A
    second time may send values again, and changes none. One that has no
    ``resume_from_saved_state`` is given all epochs, as those of a new run. Scalars alone are
    replayed: the journal holds no arrays. The run's folder is locked meanwhile.

    Args:
        folder: The run's folder.
        save_to: As for :class:`~delve.SaturationTracker`.
        writer_args: As there.

    Raises:
        JournalError: The folder holds no run, or a run without an epoch.
        RunFolderInUseError: A tracker records into it.
        DelveError: A writer cannot be had; see :func:`delve.delivery.discovery.make_writers`.
    """
    if not read_run(folder).epochs:
        raise JournalError(f"{folder}: the run has recorded no epoch, so there is nothing to send")
    writers = make_writers(save_to, folder, writer_args)
    with contextlib.ExitStack() as stack:
        stack.callback(FolderLock(folder).release)
        journal = Journal.reopen(folder)
        stack.callback(journal.close)
        for writer in writers:
            yield _send(writer, folder, journal)


def _send(writer: NamedWriter, folder: Path, journal: Journal) -> Outcome:
    resumable = writer.implements("resume_from_saved_state")
    run = RunInfo(
        savefile=folder,
        run_id=journal.run_id,
        created=journal.created,
        layers=journal.layers,
        config=journal.config,
        initial_epoch=journal.epochs[-1] + 1 if resumable else 0,
        epochs=tuple(journal.epochs) if resumable else (),
        steps=journal.steps if resumable else {},
        axis="step" if journal.steps else "epoch",
        metrics=journal.metrics,
    )
    delivery = Delivery([writer], journal, run, raise_errors=True, patience=math.inf)
    watch = _Watch(first=0 if not resumable else None)
    stop_watching = writer.manager.add_hookcall_monitoring(_nothing, watch.after)
    try:
        with contextlib.suppress(WriterFailedError):
            delivery.open()
            if not resumable:
                _feed_all(delivery, journal, writer.name)
        delivery.close(None)  # which tries a last time where something failed
        error = watch.fault(journal.epochs)
    except WriterFailedError as failure:
        error = str(failure.__cause__ or failure)
    except DelveError as failure:
        error = str(failure)
        with contextlib.suppress(WriterFailedError):
            delivery.close(None)  # the export has failed, not the run
    finally:
        stop_watching()
    return Outcome(writer.name, sorted(watch.given), error)


def _feed_all(delivery: Delivery, journal: Journal, name: str) -> None:
    for epoch in tqdm(
        journal.epochs, f"feeding {name}", unit="epoch", delay=1, leave=False, disable=None
    ):
        record = journal.read(epoch)
        for scalar, value in record.scalars.items():
            delivery.add_scalar(scalar, value, epoch, record.timestamp)
        delivery.save(record, {}, journal.layers)


@dataclass
class _Watch:
    """What a writer answered and was given, seen from outside of its delivery.

    Attributes:
        first: From this epoch on it has to be given all; None where it cannot tell.
        given: The epochs that it has saved.
    """

    first: int | None
    given: set[int] = field(default_factory=set)

    def after(
        self, result: Result[Any], hook: str, _: object, arguments: Mapping[str, Any]
    ) -> None:
        if result.exception is not None and not _has_arrived(result.exception):
            return
        if hook == "save":
            self.given.add(arguments["epoch"])
        elif hook == "start":
            self.first = 0
        elif hook == "resume_from_saved_state":
            self.first = result.get_result()

    def fault(self, epochs: Sequence[int]) -> str | None:
        """What is left to complain of where no call failed in the end."""
        if self.first is None:
            return "it cannot tell which epochs its backend holds, so it was sent nothing"
        missed = [epoch for epoch in epochs if epoch >= self.first and epoch not in self.given]
        return f"it did not get epochs {enumerate_epochs(missed)}" if missed else None


def _has_arrived(error: BaseException) -> bool:
    return isinstance(error, RejectedError) and error.rest_arrived


def _nothing(*_: object) -> None:
    """What is done before a call."""
