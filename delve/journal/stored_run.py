"""A run as its journal tells it, read without changing anything."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from delve.errors import JournalError
from delve.journal.contents import Contents, read_contents
from delve.journal.format import BeginLine, EndLine, EpochLine
from delve.journal.overview import Overview
from delve.journal.parsing import LineParser
from delve.journal.reading import JOURNAL_NAME, open_journal
from delve.journal.stored_epochs import Change, StoredEpochs
from delve.records import EpochRecord

T = TypeVar("T")

_MOST_AT_ONCE = 2**24  # bytes of lines that are parsed once, to be read twice
_KEPT = re.compile(r"journal\.([0-9]{1,9})\.jsonl")


@dataclass(frozen=True)
class StoredRun:
    """A run as its journal tells it.

    Attributes:
        folder: The run's folder.
        run_id: The run's own identity.
        created: When it began, in milliseconds since 1970.
        config: The hyperparameters that were given last.
        layers: The layers in forward order, as last recorded.
        resumes: The epochs at which it was resumed.
        metrics: Every metric that was ever recorded, in first-seen order.
        records: Its epochs, in rising order. Those of a long run are read from the journal each
            time that they are gone through, so that it fits into memory.
        damaged_lines: The numbers of the journal's lines that cannot be read, from 1.
        steps: The training steps of the epochs that have one.
        features: How many features each layer has, as far as the journal tells.
        begun: The process that opened the run last, where the journal tells of one.
        ended: How that ended, if it did.
        last_time: When its last epoch was saved, in milliseconds since 1970.
    """

    folder: Path
    run_id: str
    created: int
    config: Mapping[str, Any]
    layers: tuple[str, ...]
    resumes: tuple[int, ...]
    metrics: tuple[str, ...]
    records: Sequence[EpochRecord]
    damaged_lines: tuple[int, ...] = field(default=(), compare=False)
    steps: Mapping[int, int] = field(default_factory=dict)
    features: Mapping[str, int] = field(default_factory=dict)
    begun: BeginLine | None = field(default=None, compare=False)
    ended: EndLine | None = field(default=None, compare=False)
    last_time: int | None = None

    @property
    def epochs(self) -> list[int]:
        """The recorded epochs, in rising order."""
        return list(self._stored.epochs)

    @functools.cached_property
    def overview(self) -> Overview:
        """What the epochs hold, in short.

        Raises:
            JournalError: They cannot be read any more.
        """
        return Overview.of(self.records)

    def record_of(self, epoch: int) -> EpochRecord | None:
        """What was recorded of an epoch; None where nothing was.

        Raises:
            JournalError: It cannot be read any more.
        """
        return self._stored.of_epoch(epoch)

    def with_each(self, change: Change) -> StoredRun:
        """The same run, with each of its epochs changed when it is read."""
        return replace(self, records=self._stored.changed(change))

    @property
    def _stored(self) -> StoredEpochs:
        return (
            self.records
            if isinstance(self.records, StoredEpochs)
            else StoredEpochs.of(self.records)
        )


def read_run(folder: Path) -> StoredRun:
    """Read a run's journal, also one that is being written; no file is changed or locked.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    return _told(folder, _read)


def read_with_lines(folder: Path) -> tuple[StoredRun, list[EpochLine]]:
    """A run and the lines of its epochs, all at one moment, for who wants every number.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    return _told(folder, _read_with_lines)


def _told(folder: Path, read: Callable[[Path], T]) -> T:
    path = folder / JOURNAL_NAME
    try:
        return read(path)
    except (FileNotFoundError, NotADirectoryError):
        what = "holds no journal" if folder.is_dir() else "is not a folder"
        raise JournalError(
            f"{folder} {what}, so it is no run of Delve; name a run's folder"
        ) from None
    except OSError as error:
        raise JournalError(f"{path} cannot be read ({error.strerror})") from error


def read_kept_runs(folder: Path) -> list[StoredRun]:
    """The runs whose journals are kept beside the folder's own, the newest first.

    One that cannot be read is left out.
    """
    kept = {
        int(m[1]): path for path in folder.glob("journal.*") if (m := _KEPT.fullmatch(path.name))
    }
    runs = []
    for number in sorted(kept, reverse=True):
        with contextlib.suppress(JournalError, OSError):
            runs.append(_read(kept[number]))
    return runs


def _read(path: Path) -> StoredRun:
    parser = LineParser(str(path))
    with open_journal(path) as file:
        contents = read_contents(file, parser)
        records = StoredEpochs.stored(path, file, contents.places, parser)
    return _stored(path, contents, records)


def _read_with_lines(path: Path) -> tuple[StoredRun, list[EpochLine]]:
    parser = LineParser(str(path), _MOST_AT_ONCE)
    with open_journal(path) as file:
        contents = read_contents(file, parser)
        lines = [
            parser.parse_epoch(os.pread(file.fileno(), length, offset))
            for offset, length in contents.places.values()
        ]
        records = StoredEpochs.stored(path, file, contents.places, LineParser(str(path)))
    return _stored(path, contents, records), lines


def _stored(path: Path, contents: Contents, records: StoredEpochs) -> StoredRun:
    return StoredRun(
        folder=path.parent,
        run_id=contents.run_id,
        created=contents.created,
        config=contents.config,
        layers=contents.layers,
        resumes=tuple(contents.resumes),
        metrics=tuple(contents.metrics),
        records=records,
        damaged_lines=tuple(contents.damaged_lines),
        steps=contents.steps,
        features=contents.features,
        begun=contents.begun,
        ended=contents.ended,
        last_time=contents.last_time,
    )
