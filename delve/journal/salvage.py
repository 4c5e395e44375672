"""What a journal still tells that cannot be read as it stands: without its header, or damaged."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from delve.base.log import get_logger
from delve.journal import values
from delve.journal.contents import Contents, read_lines
from delve.journal.file import begin
from delve.journal.format import (
    FORMAT,
    EpochLine,
    ForkLine,
    HomeLine,
    Line,
    ResumeLine,
    RunLine,
    StateLine,
    first_words,
)
from delve.journal.home import Home
from delve.journal.parsing import LineParser
from delve.journal.reading import JOURNAL_NAME, open_journal
from delve.records import EpochRecord, enumerate_epochs

_LONGEST_HEADER = 2**24  # bytes
_FIRST_WORDS = first_words(RunLine)
_RUN_ID = re.compile(r"[0-9a-f]{32}")

logger = get_logger("delve.journal")  # one name for all that is said of the journal


@dataclass(frozen=True)
class Salvage:
    """All that a journal's file tells.

    Attributes:
        contents: What its lines add up to; without a run id where nothing tells it.
        records: Its epochs, in rising order.
        has_header: Whether it says by itself which run it is of.
    """

    contents: Contents = field(default_factory=Contents)
    records: Mapping[int, EpochRecord] = field(default_factory=dict)
    has_header: bool = False

    @property
    def is_healthy(self) -> bool:
        """Whether nothing of it is known to be lost."""
        contents = self.contents
        damage = contents.damaged_lines or contents.misplaced_lines or contents.lost_lines
        return self.has_header and not damage

    @property
    def summary(self) -> str:
        """What it tells, in words."""
        told = ["which run it is"] if self.contents.run_id else []
        told += [f"epochs {enumerate_epochs(list(self.records))}"] if self.records else []
        told += [f"what {', '.join(self.contents.states)} remember"] if self.contents.states else []
        return ", ".join(told) or "nothing"

    def identify(self, header: RunLine) -> None:
        """Take what nothing tells from the header of a new run."""
        contents = self.contents
        first = next(iter(self.records.values()), None)
        contents.run_id = contents.run_id or header.run_id
        began = first.timestamp if first else header.created
        contents.created = contents.created or began
        contents.layers = contents.layers or tuple(header.layers)
        contents.config = contents.config or dict(header.config)
        contents.home = contents.home or header.home


def salvage(folder: Path) -> Salvage:
    """What the folder's journal tells, which is nothing where there is none.

    Raises:
        JournalError: It cannot be opened, is no plain file, or has a later format.
        OSError: It cannot be read.
    """
    try:
        file = open_journal(folder / JOURNAL_NAME)
    except FileNotFoundError:
        return Salvage()
    with file:
        parser = LineParser(file.name)
        contents = read_lines(file, parser)
        has_header = bool(contents.run_id)
        records = {
            epoch: parser.parse_epoch(os.pread(file.fileno(), length, offset)).record
            for epoch, (offset, length) in contents.places.items()
        }
        if not has_header or (contents.origin and not contents.origin[0]):
            file.seek(0)
            _piece_together(contents, file.readline(_LONGEST_HEADER))
    return Salvage(contents, records, has_header)


def renew(folder: Path, header: RunLine) -> bool:
    """Put a journal in the place of one without a header, with what this one still tells.

    Args:
        folder: The run's folder.
        header: That of a new run, for what nothing tells.

    Returns:
        False where the file was never a journal for all that it tells: it stays as it is.
    """
    salvaged = salvage(folder)
    if not (salvaged.contents.run_id or salvaged.contents.last_number or _is_cut_off(folder)):
        return False
    told = salvaged.summary
    salvaged.identify(header)
    kept = write_anew(folder, lines_that_tell(salvaged.contents, salvaged.records))
    logger.warning(
        "%s has no readable header; it is kept as %s, and a new one takes its place, with what it "
        "still tells: %s. Each backend keeps what it holds below the epoch of the resume",
        folder / JOURNAL_NAME,
        kept.name if kept else "nothing",
        told,
    )
    return True


def write_anew(folder: Path, lines: Iterable[Line]) -> Path | None:
    """Give the folder a journal of these lines; returns where an earlier one is kept.

    Raises:
        JournalError: It cannot be made.
    """
    return begin(folder / JOURNAL_NAME, (line.encode(n) for n, line in enumerate(lines, 1)))


def lines_that_tell(
    contents: Contents,
    records: Mapping[int, EpochRecord],
    sound: Mapping[str, float] = MappingProxyType({}),
) -> Iterator[Line]:
    """The lines of a new journal, which tell this and no more.

    Args:
        contents: Who the run is and what its writers remember. Its header, its run id included,
            must be known.
        records: Its epochs, in rising order.
        sound: Below which epoch each backend can hold nothing void, as far as it is known.
    """
    healthy = not (contents.damaged_lines or contents.lost_lines)
    origin_id, origin = contents.origin or (contents.run_id, None)
    yield RunLine(
        format=FORMAT,
        run_id=origin_id,
        created=contents.created,
        layers=contents.layers,
        config=contents.config,
        home=contents.home,
        replaces_earlier=healthy and contents.replaces_earlier,
    )
    if origin is not None:
        for writer, state in contents.origin_states.items():
            yield StateLine(writer, state)
        yield ForkLine(contents.run_id, origin, contents.home)
    if contents.may_be_copy:
        yield HomeLine(contents.home, may_be_copy=True)
    yield from _epochs(records, contents)
    for writer, state in contents.states.items():
        yield _state(writer, state, sound.get(writer))
    yield from filter(None, (contents.begun, contents.ended))


def _state(writer: str, state: Mapping[str, Any], sound_below: float | None) -> StateLine:
    """The line of a writer's state, which says also what its backend holds, where it is known."""
    if sound_below is None:
        return StateLine(writer, state)
    below = int(sound_below) if math.isfinite(sound_below) else None
    return StateLine(writer, state, opened=True, sound_below=below)


def _epochs(records: Mapping[int, EpochRecord], contents: Contents) -> Iterator[Line]:
    """The lines of the epochs, and of the resumes that void none of them."""
    resumes = contents.resumes
    if records:  # the epoch that told of features may be void
        first = next(iter(records))
        records = {**records, first: replace(records[first], features=contents.features)}
    following = max(records, default=-1) + 1
    for epoch, record in records.items():
        if epoch in resumes:
            yield ResumeLine(epoch)
        yield EpochLine.of(record)
    if resumes and resumes[-1] >= following:
        yield ResumeLine(resumes[-1])


def _is_cut_off(folder: Path) -> bool:
    """Whether a journal is blank or all zeros, or ends in its first words: after a power cut."""
    with open_journal(folder / JOURNAL_NAME) as file:
        begin_of_it = file.read(_LONGEST_HEADER)
    return not begin_of_it.strip(b"\0\r\n ") or _FIRST_WORDS.startswith(
        begin_of_it[: len(_FIRST_WORDS)]
    )


def _piece_together(contents: Contents, header: bytes) -> None:
    """Take what can still be read of a header: each of its fields stands behind its name."""
    text = header.decode(errors="replace")
    run_id = _value(text, "run_id", lambda v: isinstance(v, str) and bool(_RUN_ID.fullmatch(v)))
    if contents.origin:
        contents.origin = (run_id or "", contents.origin[1])
    contents.run_id = contents.run_id or run_id or ""
    created = _value(text, "created", lambda value: type(value) is int and 0 < value < 2**43)
    contents.created = contents.created or created or 0
    layers = _value(text, "layers", values.are_names) or []
    contents.layers = contents.layers or tuple(layers)
    contents.config = contents.config or _value(text, "config", values.is_object) or {}
    home = _value(text, "home", values.is_object)
    contents.home = contents.home or Home.from_json(home)


def _value(text: str, name: str, fits: Callable[[Any], bool]) -> Any:
    """The first value of this name; None where there is none that fits."""
    _, mark, rest = text.partition(f'"{name}": ')
    try:
        value, end = json.JSONDecoder().raw_decode(rest) if mark else (None, 0)
    except (ValueError, RecursionError):
        return None
    is_whole = rest[end : end + 1] in (",", "}")  # a number may be cut off after any digit
    return value if is_whole and fits(value) else None
