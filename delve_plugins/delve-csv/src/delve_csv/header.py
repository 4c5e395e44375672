"""The lines of a table: the first, ``epoch`` and the metrics' names, read and written; rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

EPOCH = "epoch"
STEP = "step"
MAX_NAME_LENGTH = 100_000  # characters; Python's csv reads up to 131,072 in a cell

_SECTOR = 512  # bytes that a disk writes at once
_LONGEST = 64 << 20  # bytes of a header that are read


def read_header(file: BinaryIO) -> list[str]:
    """The columns of a table that is open at its beginning; none where it has no whole header.

    The file is left where the rows begin.
    """
    cells = _first_record(file)
    return cells if cells[:1] == [EPOCH] else []


def first_record(path: Path) -> list[str]:
    """The cells that any table's file begins with; none where they are no text, or not whole."""
    with path.open("rb") as file:
        return _first_record(file)


def begins_with_zeros(path: Path) -> bool:
    """Whether a power cut may have taken a file's beginning: no program's table has zeros there."""
    with path.open("rb") as file:
        head = file.read(_SECTOR)
    return bool(head) and not head.strip(b"\0")


def _first_record(file: BinaryIO) -> list[str]:
    left, consumed = _LONGEST, b""

    def lines() -> Iterator[str]:
        nonlocal left, consumed
        while left and (consumed := file.readline(left)):
            left -= len(consumed)
            yield consumed.decode()

    try:
        cells = next(csv.reader(lines(), strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return []
    return cells if consumed.endswith(b"\n") else []


def encode_line(cells: list[str]) -> bytes:
    """One line of a table."""
    text = io.StringIO()
    # A name with a line break of any kind is quoted only if the line ends in all of them.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n").encode() + b"\n"


def encode_row(numbers: list[str]) -> bytes:
    """One line of cells that are numbers or empty, which no reader needs quoted."""
    # A line of one empty cell would be none; a row begins with its epoch.
    return ",".join(numbers).encode() + b"\n"
