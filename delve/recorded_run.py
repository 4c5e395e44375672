"""A recorded run, read from its journal without changing anything."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from delve.errors import JournalError
from delve.files import open_plain, unfinished_name
from delve.journal_contents import Contents, keep, read_contents
from delve.journal_lines import is_whole, lines_of
from delve.overview import Overview
from delve.records import EpochRecord, enumerate_epochs
from delve.stored_records import Change, Records

FILE_NAME = "journal.jsonl"
_KEPT = re.compile(r"journal\.([0-9]{1,9})\.jsonl")
# How lines begin that say which run it is; a journal may be long, and the others are not parsed.
_IDENTIFYING = (b'{"type": "run"', b'{"type": "fork"')


@dataclass(frozen=True)
class RecordedRun:
    """A run as its journal tells it.

    Attributes:
        folder: The run's folder.
        run_id: The run's own identity.
        created: When it began, in milliseconds since 1970.
        config: The hyperparameters that were given last.
        layers: The layers in forward order, as last recorded.
        resumes: The epochs at which it was resumed.
        metrics: Every metric that was ever recorded, in first-seen order.
        records: Its epochs, in rising order. They are read from the journal each time that they are
            gone through, so that a long run fits into memory.
        damaged_lines: The numbers of the journal's lines that cannot be read, from 1.
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

    def with_each(self, change: Change) -> RecordedRun:
        """The same run, with each of its epochs changed when it is read."""
        return replace(self, records=self._stored.changed(change))

    @property
    def _stored(self) -> Records:
        return self.records if isinstance(self.records, Records) else Records.of(self.records)


def read_run(folder: Path) -> RecordedRun:
    """Read a run's journal, also one that is being written; no file is changed or locked.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    path = folder / FILE_NAME
    try:
        return _read(path)
    except (FileNotFoundError, NotADirectoryError):
        what = "holds no journal" if folder.is_dir() else "is not a folder"
        raise JournalError(
            f"{folder} {what}, so it is no run of Delve; name a run's folder"
        ) from None
    except OSError as error:
        raise JournalError(f"{path} cannot be read ({error.strerror})") from error


def read_kept_runs(folder: Path) -> list[RecordedRun]:
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


def _read(path: Path) -> RecordedRun:
    with open_journal(path) as file:
        contents = read_contents(file)
        records = Records.stored(path, file, contents.places)
    return RecordedRun(
        folder=path.parent,
        run_id=contents.run_id,
        created=contents.created,
        config=contents.config,
        layers=contents.layers,
        resumes=tuple(contents.resumes),
        metrics=tuple(contents.metrics),
        records=records,
        damaged_lines=tuple(contents.damaged_lines),
    )


def read_epochs(folder: Path) -> list[int] | None:
    """The epochs that the folder's journal holds, in rising order; None where there is none.

    A run that was killed before its first line was whole has recorded none.

    Raises:
        JournalError: It cannot be read.
    """
    contents = contents_in(folder)
    return None if contents is None else list(contents.places)


def next_epoch(folder: Path, contents: Contents) -> int:
    """The epoch at which a run goes on whose journal holds this.

    That is the one after the last recorded, or that of a later resume which has recorded none.

    Raises:
        JournalError: No line tells any more where the run goes on.
    """
    if contents.damaged_lines and not contents.places:
        raise JournalError(
            f"{folder / FILE_NAME} holds no epoch that can be read, but unreadable lines: "
            f"{enumerate_epochs(contents.damaged_lines)}; give initial_epoch as a number, or have "
            f"`delve repair {shlex.quote(str(folder))}` write it anew from what backends hold"
        )
    after_the_last = next(reversed(contents.places), -1) + 1
    return max([after_the_last, *contents.resumes[-1:]])


def contents_in(folder: Path) -> Contents | None:
    """What the folder's journal holds: nothing yet where its first line is not whole.

    None where there is no journal.

    Raises:
        JournalError: It cannot be read.
    """
    path = folder / FILE_NAME
    try:
        with open_journal(path) as file:
            first, _ = next(lines_of(file), (b"", 0))
            has_begun = first.endswith(b"\n") or is_whole(first)
            file.seek(0)
            if not has_begun:
                return Contents()
            contents = read_contents(file)
            keep(file, contents)  # the run is opened next
            return contents
    except FileNotFoundError:
        was_begun = os.path.lexists(path.with_name(unfinished_name(FILE_NAME)))
        return Contents() if was_begun else None


def holds_run(folder: Path, run_id: str) -> bool:
    """Whether a folder has the journal of this run; one that cannot be read tells nothing."""
    last = None
    try:
        with open_journal(folder / FILE_NAME) as file:
            for line, _ in lines_of(file):
                if line.startswith(_IDENTIFYING):
                    with contextlib.suppress(ValueError, RecursionError, AttributeError):
                        last = json.loads(line).get("run_id")
    except (OSError, JournalError):
        return False
    return last == run_id


def open_journal(path: Path) -> BinaryIO:
    """Open a journal for reading.

    Raises:
        FileNotFoundError: There is none.
        NotADirectoryError: The folder is a file.
        JournalError: It cannot be opened, or is no plain file.
    """
    return open(path, "rb", opener=lambda _, flags: journal_descriptor(path, flags))


def journal_descriptor(path: Path, flags: int) -> int:
    """A descriptor of a journal, opened as it is: somebody else may have made up the folder.

    Raises:
        FileNotFoundError: There is none.
        NotADirectoryError: The folder is a file.
        JournalError: It cannot be opened, or is no plain file.
    """
    try:
        return open_plain(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        if path.is_symlink():
            raise JournalError(
                f"{path} is a link, which Delve does not follow; put the file in its place, or "
                "name another savefile"
            ) from error
        raise JournalError(
            f"{path} cannot be opened ({error.strerror}); change its permissions, or move it away"
        ) from error
