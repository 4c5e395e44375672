"""What the lines of a journal add up to, whatever befell the file that they stand in."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from delve.errors import JournalError, NoHeaderError
from delve.journal.format import (
    BeginLine,
    ConfigLine,
    EndLine,
    EpochLine,
    ForkLine,
    HomeLine,
    Line,
    NumberedLine,
    ResumeLine,
    RunLine,
    StateLine,
)
from delve.journal.home import Home
from delve.journal.lines import is_whole, lines_of
from delve.journal.parsing import LineParser

# What a fault leaves is far less; of what somebody else has made, no more is gone through.
_MOST_DAMAGED = 100_000  # lines
_MOST_DAMAGED_BYTES = 2**28


@dataclass
class Contents:
    """What a journal's lines add up to.

    Attributes:
        run_id: The run's identity; empty as long as no line told it.
        created: When it began, in milliseconds since 1970.
        config: The hyperparameters that were given last.
        layers: The layers in forward order, as last recorded.
        places: Offset and length of the line of each epoch that is not void, by rising epoch.
        steps: The training steps of those that have one, in the same order.
        metrics: The name of every metric that was ever recorded: an ordered set.
        features: How many features each layer has, as last told.
        begun: The process that opened the run last; None where no line told of one.
        ended: How it ended; None where it did not, or where nobody told.
        last_time: When the last epoch was saved, in milliseconds since 1970; None without any.
        states: What each writer remembers.
        resumes: The epoch of each resume.
        replaces_earlier: Whether the folder held an earlier run when this one began.
        sound: Below which epoch the backend of each writer that was opened can hold nothing void;
            see :meth:`sound_below`, which knows also of the others.
        home: Where the folder lay when it was opened last.
        may_be_copy: Whether the one that it came from may be there still, out of sight.
        origin: Run id and folder of the run that it was copied from.
        origin_states: What the writers of that run remembered.
        damaged_lines: The places of lines that cannot be read, from 1.
        misplaced_lines: Those of lines that were repeated or moved.
        lost_lines: How many numbers no line bears, as far as damaged ones do not explain them.
        last_number: The number of the last line.
        size: Bytes up to the end of the last whole line.
        ends_in_newline: Whether that line has its line break.
    """

    run_id: str = ""
    created: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    metrics: dict[str, None] = field(default_factory=dict)
    features: dict[str, int] = field(default_factory=dict)
    begun: BeginLine | None = None
    ended: EndLine | None = None
    last_time: int | None = None
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    resumes: list[int] = field(default_factory=list)
    replaces_earlier: bool = False
    sound: dict[str, float] = field(default_factory=dict)
    home: Home | None = None
    may_be_copy: bool = False
    origin: tuple[str, str] | None = None
    origin_states: dict[str, dict[str, Any]] = field(default_factory=dict)
    damaged_lines: list[int] = field(default_factory=list)
    misplaced_lines: list[int] = field(default_factory=list)
    lost_lines: int = 0
    last_number: int = 0
    size: int = 0
    ends_in_newline: bool = True

    def take(self, numbered: NumberedLine, offset: int, length: int) -> None:
        """Take in one more line.

        Args:
            numbered: What it says; without a number it is the one after the last.
            offset: Where it lies in the file.
            length: How many bytes it has.
        """
        self.last_number = numbered.number or self.last_number + 1
        match numbered.line:
            case EpochLine() as line:
                self._void(line)
                self._take_epoch(line, offset, length)
            case StateLine() as line:
                self._take_state(line)
            case ResumeLine() as line:
                self._take_resume(line)
            case RunLine() as line:
                self._take_header(line)
            case ConfigLine(config):
                self.config = dict(config)
            case HomeLine(home, may_be_copy):
                self.home = home
                self.may_be_copy = self.may_be_copy or may_be_copy
            case ForkLine() as line:
                self._take_fork(line)
            case BeginLine() as line:
                self.begun, self.ended = line, None
            case EndLine() as line:
                self.ended = line

    def _take_header(self, line: RunLine) -> None:
        self.run_id, self.created = line.run_id, line.created
        self.config, self.layers = dict(line.config), tuple(line.layers)
        self.replaces_earlier, self.home = line.replaces_earlier, line.home

    def _take_epoch(self, line: EpochLine, offset: int, length: int) -> None:
        self.places[line.epoch] = (offset, length)
        self.last_time = line.time
        if line.features:
            self.features.update(line.features)
        if line.step is not None:
            self.steps[line.epoch] = line.step
        self.metrics.update(dict.fromkeys(line.scalars))
        self.metrics.update(dict.fromkeys(line.metrics))
        self.layers = tuple(line.layers or self.layers)

    def _take_resume(self, line: ResumeLine) -> None:
        self.resumes.append(line.epoch)
        if line.epoch > next(reversed(self.places), -1) + 1:
            # The lines of epochs below it are lost: what a backend holds may be those.
            self.replaces_earlier = False
        self._void(line)
        self._void_in_backends(line.epoch)

    def _take_state(self, line: StateLine) -> None:
        self.states[line.writer] = dict(line.state)
        if line.opened:
            below = line.sound_below
            self.sound[line.writer] = math.inf if below is None else below

    def _take_fork(self, line: ForkLine) -> None:
        self.origin = (self.run_id, line.origin)
        self.origin_states, self.states = self.states, {}
        self.run_id, self.home = line.run_id, line.home
        self.may_be_copy = False

    def sound_below(self, writer: str) -> float:
        """The first epoch from which a writer's backend may hold numbers that are void.

        What it holds of earlier epochs is what the journal says. A backend can hold void numbers
        where the run went back to an earlier epoch while the backend was away, as nobody cut it
        back then; and where a new run began in the folder of an old one, all that it holds may be
        the old one's. When the backend is opened, it is cut back to here.

        Infinite where nothing void can be in it, or where the journal is too damaged to tell.
        """
        # A line that cannot be read may have told of the writer: better stale than cut for nothing.
        if self.damaged_lines or self.lost_lines:
            return math.inf
        never_opened = 0.0 if self.replaces_earlier else math.inf
        return self.sound.get(writer, never_opened)

    def _void(self, line: Line) -> None:
        """Drop the epochs that a line makes void, which are the last of ``places``."""
        first = line.voids_from
        while self.places and next(reversed(self.places)) >= first:
            epoch, _ = self.places.popitem()
            self.steps.pop(epoch, None)
            self._void_in_backends(first)

    def _void_in_backends(self, first: float) -> None:
        """What any backend holds from this epoch on is void, until it is opened again."""
        for writer, below in self.sound.items():
            self.sound[writer] = min(below, first)


class _FoundLine(NamedTuple):
    """A line that can be read, and where it was found.

    Attributes:
        place: Which line of the file it is, counted from 1.
        numbered: What it says.
        offset: Where it lies in the file.
        content: Its bytes.
    """

    place: int
    numbered: NumberedLine
    offset: int
    content: bytes


def read_contents(file: BinaryIO, parser: LineParser | None = None) -> Contents:
    """What the whole lines of a journal add up to.

    They count in the order that they tell themselves: one that another program has moved or
    repeated voids nothing that came after it.

    Args:
        file: The journal.
        parser: Parses the lines, for one who reads them again afterwards.

    Raises:
        NoHeaderError: It has no readable header.
        JournalError: It has a later format.
    """
    contents = read_lines(file, parser)
    if not contents.run_id:
        raise NoHeaderError(
            f"{file.name} has no readable header, so it does not tell which run it is of; "
            f"`delve repair {shlex.quote(str(Path(file.name).parent))}` writes it anew from what "
            "it and the backends beside it hold, and initial_epoch=0 starts anew; either keeps it "
            "under another name"
        )
    return contents


def read_lines(file: BinaryIO, parser: LineParser | None = None) -> Contents:
    """What the lines add up to, also where none of them is a header.

    Raises:
        JournalError: It has a later format.
    """
    parser = parser or LineParser(file.name, most_kept=0)
    contents = Contents()
    for found in _lines(file, contents, parser):
        number = found.numbered.number
        if 0 < number <= contents.last_number:
            contents = _in_their_order(file, parser)
            break
        contents.lost_lines += max(0, number - contents.last_number - 1)
        contents.take(found.numbered, found.offset, len(found.content))
    contents.lost_lines = max(0, contents.lost_lines - len(contents.damaged_lines))
    return contents


def _in_their_order(file: BinaryIO, parser: LineParser) -> Contents:
    """What the lines add up to once they are sorted; of two with one number the first counts."""
    contents = Contents()
    file.seek(0)
    places: dict[int, tuple[int, int]] = {}  # offset and length, by number
    last = 0
    for found in _lines(file, contents, parser):
        number = found.numbered.number or last + 1
        if number <= last:
            contents.misplaced_lines.append(found.place)
        if number in places and _read(file, *places[number]).rstrip() != found.content.rstrip():
            contents.damaged_lines.append(found.place)  # two journals in one
        places.setdefault(number, (found.offset, len(found.content)))
        last = max(last, number)
    for number in sorted(places):
        contents.lost_lines += max(0, number - contents.last_number - 1)
        contents.take(parser.parse(_read(file, *places[number])), *places[number])
    return contents


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    """So many bytes from there, wherever the file is being read."""
    return os.pread(file.fileno(), length, offset)


def _lines(file: BinaryIO, contents: Contents, parser: LineParser) -> Iterator[_FoundLine]:
    """The lines that can be read; what else is there goes into ``contents``."""
    unreadable = 0  # bytes
    for place, (content, length) in enumerate(lines_of(file), 1):
        is_too_long = length > len(content)
        if not is_too_long and not content.endswith(b"\n") and not is_whole(content):
            break  # torn by a crash
        offset = contents.size
        contents.size += length
        contents.ends_in_newline = is_too_long or content.endswith(b"\n")
        numbered = None if is_too_long else parser.parse_if_any(content)
        is_sound = numbered is not None and is_whole(content)
        if not is_sound:
            contents.damaged_lines.append(place)
            unreadable += length
            if len(contents.damaged_lines) > _MOST_DAMAGED or unreadable > _MOST_DAMAGED_BYTES:
                raise JournalError(
                    f"{file.name} is no journal, or damaged beyond use: {place} lines were looked "
                    f"at, and {len(contents.damaged_lines)} cannot be read; move it away"
                )
        # Without its header nothing of a journal is read: a damaged one still counts.
        if numbered is not None and (is_sound or isinstance(numbered.line, RunLine)):
            yield _FoundLine(place, numbered, offset, content)
