"""A recorded run, read from its journal without changing anything."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delve.errors import JournalError
from delve.journal_lines import check_epoch, decode_epoch, is_whole
from delve.records import EpochRecord

FILE_NAME = "journal.jsonl"
FORMAT = 1


@dataclass
class Contents:
    """What a journal's lines add up to."""

    run_id: str = ""
    created: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    places: dict[int, tuple[int, int]] = field(default_factory=dict)  # epoch: (offset, length)
    metrics: dict[str, None] = field(default_factory=dict)  # an ordered set
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    resumes: list[int] = field(default_factory=list)  # the epoch of each
    damaged_lines: list[int] = field(default_factory=list)
    size: int = 0  # bytes up to the end of the last whole line

    def add(self, entry: Mapping[str, Any], offset: int, length: int) -> None:
        """Take in one line's object, and where the line lies.

        Raises:
            JournalError: The journal is of a later format.
            ValueError: The object is not that of a journal; also KeyError and TypeError.
        """
        match entry["type"]:
            case "run":
                if entry["format"] > FORMAT:
                    raise JournalError(
                        f"the journal has format {entry['format']}, this version of Delve reads "
                        f"up to {FORMAT}; use the newer version that wrote it"
                    )
                self.run_id, self.created = entry["run_id"], entry["created"]
                self.config, self.layers = entry["config"], tuple(entry["layers"])
            case "epoch":
                check_epoch(entry)
                self.places[entry["epoch"]] = (offset, length)
                self.metrics.update(dict.fromkeys(entry["scalars"]))
                self.metrics.update(dict.fromkeys(entry["metrics"]))
                self.layers = tuple(entry.get("layers", self.layers))
            case "config":
                self.config = entry["config"]
            case "resume":
                self.resumes.append(entry["epoch"])
                self.places = {e: p for e, p in self.places.items() if e < entry["epoch"]}
            case "state":
                self.states[entry["writer"]] = entry["state"]


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
    if not path.is_file():
        what = "holds no journal" if folder.is_dir() else "is not a folder"
        raise JournalError(f"{folder} {what}, so it is no run of Delve; name a run's folder")
    try:
        contents = read_contents(path)
        with path.open("rb") as file:
            records = [
                decode_epoch(os.pread(file.fileno(), length, offset))
                for _, (offset, length) in sorted(contents.places.items())
            ]
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
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    with path.open("rb") as file:
        has_begun = file.readline().endswith(b"\n")
    return sorted(read_contents(path).places) if has_begun else []


def read_contents(path: Path) -> Contents:
    """What the file's whole lines add up to.

    Raises:
        JournalError: It has no readable header, or a later format.
    """
    contents = Contents()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break  # torn by a crash
            try:
                entry, whole = json.loads(line), is_whole(line)
                if not whole and entry["type"] != "run":  # without a header nothing is read
                    raise ValueError("changed since it was written")
                contents.add(entry, contents.size, len(line))
                if not whole:
                    contents.damaged_lines.append(number)
            except (ValueError, KeyError, TypeError, AttributeError):
                contents.damaged_lines.append(number)
            contents.size += len(line)
    if not contents.run_id:
        raise JournalError(
            f"{path} has no readable header, so it is not the journal of a run; move it away, or "
            "start anew with initial_epoch=0, which keeps it under another name"
        )
    return contents
