"""One line of a journal as bytes: a JSON object with its number and its checksum at the end.

What the objects of the types of lines hold is told in :mod:`delve.journal.format`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from delve.errors import JournalError
from delve.journal.values import finite

_CHECKSUM_MARK = b', "crc32": '
_CHECKSUM = _CHECKSUM_MARK + b'"%08x"}\n'

LONGEST = 2**25  # bytes of a line; an epoch of half a million metrics has less
_MOST_SKIPPED = 2**28  # bytes that are read to find the end of a longer one

# Which line of its journal it is, counted from 1: a line that was moved or repeated tells so.
NUMBER = "line"


def encode(entry: Mapping[str, Any], number: int | None = None) -> bytes:
    """A line, with its number, if it has one, and the checksum of its object as the last fields."""
    return _with_checksum(to_json(entry if number is None else {**entry, NUMBER: number}))


def to_json(entry: Mapping[str, Any]) -> bytes:
    """The object of a line, without a checksum; what is not finite becomes its name."""
    try:
        text = json.dumps(entry, allow_nan=False, default=_plain)
    except ValueError:  # something is not finite, which is rare: only then look at each value
        text = json.dumps(finite(entry), allow_nan=False, default=_plain)
    return text.encode()


def parse(line: bytes) -> Any:
    """What a line holds.

    Raises:
        ValueError: It is no JSON, or has too many brackets.
    """
    try:
        # Delve's own lines are ASCII, which need not be looked through for their encoding.
        return json.loads(line.decode("ascii") if line.isascii() else line)
    except RecursionError as error:
        raise ValueError("too many brackets") from error


def _with_checksum(content: bytes) -> bytes:
    """The line of a JSON object, with the checksum of the object as its last field."""
    return content[:-1] + _CHECKSUM % zlib.crc32(content)


def is_whole(line: bytes) -> bool:
    """Whether a line is as it was written; one without a checksum cannot tell.

    Its end is forgiven: other programs turn line ends into those of Windows, and editors leave the
    last one out. Only what bears a checksum is whole without one.
    """
    content, mark, _ = line.rpartition(_CHECKSUM_MARK)
    if not mark:
        return line.endswith(b"\n")
    return line.rstrip(b"\r\n") + b"\n" == _with_checksum(content + b"}")


def _plain(value: Any) -> Any:
    """A stand-in for a hyperparameter that JSON cannot hold: its number, else its text."""
    item = getattr(value, "item", None)
    return finite(item()) if item is not None and getattr(value, "size", 0) == 1 else str(value)


def lines_of(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Each line and its length; of one that is too long for a journal, the beginning alone.

    Raises:
        JournalError: There is no end of a line as far as anybody should look for one.
    """
    left = _MOST_SKIPPED
    while content := file.readline(LONGEST):
        length = len(content)
        if length == LONGEST and not content.endswith(b"\n"):
            length += _length_of_rest(file, left)
            left -= length
        yield content, length


def _length_of_rest(file: BinaryIO, most: int) -> int:
    """How far the end of a line lies from where the file is read."""
    length, part = 0, b""
    while not part.endswith(b"\n"):
        part = file.readline(2**20)
        length += len(part)
        if not part or length > most:
            raise JournalError(
                f"{file.name} holds a line of more than {LONGEST} bytes, which Delve does not "
                "write, and that does not end; cut it off, or move the file away"
            )
    return length
