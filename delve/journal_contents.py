"""What the lines of a journal add up to, whatever befell the file that they stand in."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from delve import line_shapes
from delve.errors import JournalError, NoHeaderError
from delve.home import Home
from delve.journal_lines import NUMBER, check_entry, is_whole, lines_of, parse

FORMAT = 1

# What a fault leaves is far less; of what somebody else has made, no more is gone through.
_MOST_DAMAGED = 100_000  # lines
_MOST_DAMAGED_BYTES = 2**28


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
    misplaced_lines: list[int] = field(default_factory=list)  # repeated or moved, by their places
    lost_lines: int = 0  # numbers that no line bears, as far as damaged ones do not explain them
    last_number: int = 0
    size: int = 0  # bytes up to the end of the last whole line
    ends_in_newline: bool = True
    _names: tuple[Any, Any] = ((), ())  # those that the last epoch brought

    def add(self, entry: Mapping[str, Any], offset: int, length: int) -> None:
        """Take in one line's object, and where the line lies."""
        self.last_number = entry.get(NUMBER) or self.last_number + 1
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
                names = (entry["scalars"], entry["metrics"])
                if names[0] is not self._names[0] or names[1] is not self._names[1]:
                    self.metrics.update(dict.fromkeys(names[0]))
                    self.metrics.update(dict.fromkeys(names[1]))
                    # Lines of one shape share the names; a dictionary may be filled further.
                    self._names = names if all(type(n) is tuple for n in names) else ((), ())
                self.layers = tuple(entry.get("layers") or self.layers)
            case "config":
                self.config = entry["config"]
            case "resume":
                self.resumes.append(entry["epoch"])
                if entry["epoch"] > next(reversed(self.places), -1) + 1:
                    # The lines of epochs below it are lost: what a backend holds may be those.
                    self.replaces_earlier = False
                self._void(entry["epoch"])
                self._doubt(entry["epoch"])
            case "state":
                self.states[entry["writer"]] = entry["state"]
                if entry.get("opened"):
                    below = entry.get("sound_below")
                    self.sound[entry["writer"]] = math.inf if below is None else below

    def sound_below(self, writer: str) -> float:
        """Below which epoch a backend that holds something of this folder can hold nothing void.

        A run that goes back to an earlier epoch while a backend is away leaves in it what is void
        by then, and a new run in an old folder all that is there; only here is that known.
        Infinite where nothing speaks against what the backend holds, or where it cannot be told.
        """
        # A line that cannot be read may have told of the writer: better stale than cut for nothing.
        if self.damaged_lines or self.lost_lines:
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
class _Line:
    """A line that can be read.

    Attributes:
        place: Which line of the file it is, counted from 1.
        number: Which line of the journal it says to be; 0 for one from before they said so.
        entry: Its object.
        offset: Where it lies in the file.
        content: Its bytes.
    """

    place: int
    number: int
    entry: Mapping[str, Any]
    offset: int
    content: bytes


def read_contents(file: BinaryIO) -> Contents:
    """What the whole lines of a journal add up to.

    They count in the order that they tell themselves: one that another program has moved or
    repeated voids nothing that came after it.

    Raises:
        NoHeaderError: It has no readable header.
        JournalError: It has a later format.
    """
    contents = read_lines(file)
    if not contents.run_id:
        raise NoHeaderError(
            f"{file.name} has no readable header, so it does not tell which run it is of; "
            f"`delve repair {shlex.quote(str(Path(file.name).parent))}` writes it anew from what "
            "it and the backends beside it hold, and initial_epoch=0 starts anew; either keeps it "
            "under another name"
        )
    return contents


def keep(file: BinaryIO, contents: Contents) -> None:
    """Have what was read be there for whoever opens the same journal next: it may be long."""
    _kept.clear()
    _kept[_state(file)] = contents


def take_kept(file: BinaryIO) -> Contents | None:
    """What was kept of a journal that has not changed since; it is given away, once."""
    contents = _kept.pop(_state(file), None)
    _kept.clear()
    return contents


_kept: dict[tuple[int, ...], Contents] = {}


def _state(file: BinaryIO) -> tuple[int, ...]:
    """What changes with a file, whoever changes it."""
    status = os.fstat(file.fileno())
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def read_lines(file: BinaryIO) -> Contents:
    """What the lines add up to, also where none of them is a header.

    Raises:
        JournalError: It has a later format.
    """
    contents = Contents()
    for line in _lines(file, contents):
        if 0 < line.number <= contents.last_number:
            contents = _in_their_order(file)
            break
        contents.lost_lines += max(0, line.number - contents.last_number - 1)
        contents.add(line.entry, line.offset, len(line.content))
    contents.lost_lines = max(0, contents.lost_lines - len(contents.damaged_lines))
    return contents


def _in_their_order(file: BinaryIO) -> Contents:
    """What the lines add up to once they are sorted; of two with one number the first counts."""
    contents = Contents()
    file.seek(0)
    found: dict[int, tuple[int, int]] = {}  # offset and length
    last = 0
    for line in _lines(file, contents):
        number = line.number or last + 1
        if number <= last:
            contents.misplaced_lines.append(line.place)
        if number in found and _read(file, *found[number]).rstrip() != line.content.rstrip():
            contents.damaged_lines.append(line.place)  # two journals in one
        found.setdefault(number, (line.offset, len(line.content)))
        last = max(last, number)
    for number in sorted(found):
        contents.lost_lines += max(0, number - contents.last_number - 1)
        contents.add(parse(_read(file, *found[number])), *found[number])
    return contents


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    """So many bytes from there, wherever the file is being read."""
    return os.pread(file.fileno(), length, offset)


def _lines(file: BinaryIO, contents: Contents) -> Iterator[_Line]:
    """The lines that can be read; what else is there goes into ``contents``."""
    unreadable = 0  # bytes
    for place, (content, length) in enumerate(lines_of(file), 1):
        is_too_long = length > len(content)
        if not is_too_long and not content.endswith(b"\n") and not is_whole(content):
            break  # torn by a crash
        offset = contents.size
        contents.size += length
        contents.ends_in_newline = is_too_long or content.endswith(b"\n")
        entry = None if is_too_long else _entry_of(content, file.name)
        is_sound = entry is not None and is_whole(content)
        if not is_sound:
            contents.damaged_lines.append(place)
            unreadable += length
            if len(contents.damaged_lines) > _MOST_DAMAGED or unreadable > _MOST_DAMAGED_BYTES:
                raise JournalError(
                    f"{file.name} is no journal, or damaged beyond use: {place} lines were looked "
                    f"at, and {len(contents.damaged_lines)} cannot be read; move it away"
                )
        if entry is not None and (is_sound or entry["type"] == "run"):  # without it nothing is read
            yield _Line(place, entry.get(NUMBER) or 0, entry, offset, content)


def _entry_of(content: bytes, path: str) -> dict[str, Any] | None:
    """The object of a line; None where there is none of a journal."""
    known = line_shapes.entry_of(content)
    if known is not None:
        return known
    try:
        entry = parse(content)
        _check_format(entry, path)
        check_entry(entry)
    except (ValueError, RecursionError):  # the latter of too many brackets
        return None
    assert isinstance(entry, dict)
    if entry["type"] == "epoch":
        line_shapes.learn(content, entry)
    return entry


def _check_format(entry: Any, path: str) -> None:
    match entry:
        case {"type": "run", "format": int(version)} if version > FORMAT:
            raise JournalError(
                f"{path} has format {version}, this version of Delve reads up to {FORMAT}; "
                "use the newer version that wrote it"
            )
