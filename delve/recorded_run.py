"""A recorded run, read from its journal without changing anything."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from delve.errors import JournalError
from delve.files import open_plain, unfinished_name
from delve.home import Home
from delve.journal_lines import check_entry, decode_epoch, is_whole
from delve.records import EpochRecord, enumerate_epochs

FILE_NAME = "journal.jsonl"
FORMAT = 1

# How lines begin that say which run it is; a journal may be long, and the others are not parsed.
_IDENTIFYING = (b'{"type": "run"', b'{"type": "fork"')


@dataclass
class Contents:
    """What a journal's lines add up to."""

    run_id: str = ""
    created: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    # By rising epoch: offset and length.
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    metrics: dict[str, None] = field(default_factory=dict)  # an ordered set
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    resumes: list[int] = field(default_factory=list)  # the epoch of each
    replaces_earlier: bool = False  # whether the folder held an earlier run when this one began
    sound: dict[str, float] = field(default_factory=dict)  # by writer, see `sound_below`
    home: Home | None = None  # where the folder lay when it was opened last
    may_be_copy: bool = False  # whether the one that it came from may be there still, out of sight
    origin: tuple[str, str] | None = None  # run id and folder of the run that it was copied from
    origin_states: dict[str, dict[str, Any]] = field(default_factory=dict)
    damaged_lines: list[int] = field(default_factory=list)
    size: int = 0  # bytes up to the end of the last whole line

    def add(self, entry: Mapping[str, Any], offset: int, length: int) -> None:
        """Take in one line's object, and where the line lies."""
        match entry["type"]:
            case "run":
                self.run_id, self.created = entry["run_id"], entry["created"]
                self.config, self.layers = entry["config"], tuple(entry["layers"])
                self.replaces_earlier = bool(entry.get("replaces_earlier"))
                self.home = Home.from_json(entry.get("home"))
            case "home":
                self.home = Home.from_json(entry["home"])
                self.may_be_copy = self.may_be_copy or bool(entry.get("may_be_copy"))
            case "fork":
                self.origin = (self.run_id, entry["origin"])
                self.origin_states, self.states = self.states, {}
                self.run_id, self.home = entry["run_id"], Home.from_json(entry["home"])
                self.may_be_copy = False
            case "epoch":
                self._void(entry["epoch"])
                self.places[entry["epoch"]] = (offset, length)
                self.metrics.update(dict.fromkeys(entry["scalars"]))
                self.metrics.update(dict.fromkeys(entry["metrics"]))
                self.layers = tuple(entry.get("layers") or self.layers)
            case "config":
                self.config = entry["config"]
            case "resume":
                self.resumes.append(entry["epoch"])
                self._void(entry["epoch"])
                self._doubt(entry["epoch"])
            case "state":
                self.states[entry["writer"]] = entry["state"]
                if entry.get("opened"):
                    self.sound[entry["writer"]] = math.inf

    def sound_below(self, writer: str) -> float:
        """Below which epoch a backend that holds something of this folder can hold nothing void.

        A run that goes back to an earlier epoch while a backend is away leaves in it what is void
        by then, and a new run in an old folder all that is there; only here is that known.
        Infinite where nothing speaks against what the backend holds, or where it cannot be told.
        """
        if self.damaged_lines:  # one may have told of the writer: better stale than cut for nothing
            return math.inf
        never_here = 0.0 if self.replaces_earlier else math.inf
        return self.sound.get(writer, never_here)

    def _void(self, first: int) -> None:
        """Drop the epochs from ``first`` on, which are the last of ``places``.

        An epoch voids those after it as a resume does, because a process records them in rising
        order: where the line of a resume is damaged, what it voided does not come back.
        """
        while self.places and next(reversed(self.places)) >= first:
            self.places.popitem()
            self._doubt(first)

    def _doubt(self, first: int) -> None:
        """What any backend holds from this epoch on is void, until it is opened again."""
        for writer, below in self.sound.items():
            self.sound[writer] = min(below, first)


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
        records: Its epochs, in rising order.
    """

    folder: Path
    run_id: str
    created: int
    config: Mapping[str, Any]
    layers: tuple[str, ...]
    resumes: tuple[int, ...]
    metrics: tuple[str, ...]
    records: tuple[EpochRecord, ...]

    @property
    def epochs(self) -> list[int]:
        """The recorded epochs, in rising order."""
        return [record.epoch for record in self.records]


def read_run(folder: Path) -> RecordedRun:
    """Read a run's journal, also one that is being written; no file is changed or locked.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    path = folder / FILE_NAME
    try:
        with open_journal(path) as file:
            contents = read_contents(file)
            records = [
                decode_epoch(os.pread(file.fileno(), length, offset))
                for offset, length in contents.places.values()
            ]
    except (FileNotFoundError, NotADirectoryError):
        what = "holds no journal" if folder.is_dir() else "is not a folder"
        raise JournalError(
            f"{folder} {what}, so it is no run of Delve; name a run's folder"
        ) from None
    except OSError as error:
        raise JournalError(f"{path} cannot be read ({error.strerror})") from error
    return RecordedRun(
        folder=folder,
        run_id=contents.run_id,
        created=contents.created,
        config=contents.config,
        layers=contents.layers,
        resumes=tuple(contents.resumes),
        metrics=tuple(contents.metrics),
        records=tuple(records),
    )


def read_epochs(folder: Path) -> list[int] | None:
    """The epochs that the folder's journal holds, in rising order; None where there is none.

    A run that was killed before its first line was whole has recorded none.

    Raises:
        JournalError: It cannot be read.
    """
    contents = _contents_in(folder)
    return None if contents is None else list(contents.places)


def next_epoch(folder: Path) -> int | None:
    """The epoch at which the folder's run goes on; None where there is no journal.

    That is the one after the last recorded, or that of a later resume which has recorded none.

    Raises:
        JournalError: It cannot be read, or no line tells any more where the run goes on.
    """
    contents = _contents_in(folder)
    if contents is None:
        return None
    if contents.damaged_lines and not contents.places:
        raise JournalError(
            f"{folder / FILE_NAME} holds no epoch that can be read, but unreadable lines: "
            f"{enumerate_epochs(contents.damaged_lines)}; give initial_epoch as a number"
        )
    after_the_last = next(reversed(contents.places), -1) + 1
    return max([after_the_last, *contents.resumes[-1:]])


def _contents_in(folder: Path) -> Contents | None:
    """What the folder's journal holds: nothing yet where its first line is not whole."""
    path = folder / FILE_NAME
    try:
        with open_journal(path) as file:
            has_begun = file.readline().endswith(b"\n")
            file.seek(0)
            return read_contents(file) if has_begun else Contents()
    except FileNotFoundError:
        was_begun = os.path.lexists(path.with_name(unfinished_name(FILE_NAME)))
        return Contents() if was_begun else None


def holds_run(folder: Path, run_id: str) -> bool:
    """Whether a folder has the journal of this run; one that cannot be read tells nothing."""
    last = None
    try:
        with open_journal(folder / FILE_NAME) as file:
            for line in file:
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


def read_contents(file: BinaryIO) -> Contents:
    """What the whole lines of a journal add up to.

    Raises:
        JournalError: It has no readable header, or a later format.
    """
    contents = Contents()
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break  # torn by a crash
        try:
            entry, whole = json.loads(line), is_whole(line)
            _check_format(entry, file.name)
            check_entry(entry)
            if whole or entry["type"] == "run":  # without a header nothing is read
                contents.add(entry, contents.size, len(line))
        except (ValueError, RecursionError):  # the latter of too many brackets
            whole = False
        if not whole:
            contents.damaged_lines.append(number)
        contents.size += len(line)
    if not contents.run_id:
        raise JournalError(
            f"{file.name} has no readable header, so it is not the journal of a run; move it away, "
            "or start anew with initial_epoch=0, which keeps it under another name"
        )
    return contents


def _check_format(entry: Any, path: str) -> None:
    match entry:
        case {"type": "run", "format": int(version)} if version > FORMAT:
            raise JournalError(
                f"{path} has format {version}, this version of Delve reads up to {FORMAT}; "
                "use the newer version that wrote it"
            )
