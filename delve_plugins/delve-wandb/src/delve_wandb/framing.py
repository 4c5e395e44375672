"""The frame of a ``run-<id>.wandb`` file, for which W&B offers no reader.

The file is a log in the framing of LevelDB: blocks of 32 KiB that hold fragments of records, each
behind a checksum, a length and the part of the record that it is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 32 * 1024
_FILE_HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_FRAGMENT_HEADER = struct.Struct("<IHB")  # checksum, length, kind
_WHOLE, _FIRST, _LAST = 1, 2, 4  # 3 is a part in the middle


def read(path: Path) -> Iterator[bytes]:
    """The records up to the first that is torn or damaged; what a kill left is read so far."""
    record = b""
    for kind, fragment in _fragments(path):
        record = fragment if kind in (_WHOLE, _FIRST) else record + fragment
        if kind in (_WHOLE, _LAST):
            yield record


def read_end(path: Path) -> Iterator[bytes]:
    """The records that begin in the last two blocks."""
    record: bytes | None = None
    first_block = max(path.stat().st_size // _BLOCK - 1, 0)
    for kind, fragment in _fragments(path, first_block):
        if kind in (_WHOLE, _FIRST):
            record = fragment
        elif record is not None:
            record += fragment
        if record is not None and kind in (_WHOLE, _LAST):
            yield record


def _fragments(path: Path, first_block: int = 0) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        block, at = file.read(_BLOCK), len(_FILE_HEADER)
        if block[:at] != _FILE_HEADER:
            return
        if first_block:
            file.seek(first_block * _BLOCK)
            block, at = file.read(_BLOCK), 0
        while block:
            while at + _FRAGMENT_HEADER.size <= len(block):  # zeros fill what is too short for one
                checksum, length, kind = _FRAGMENT_HEADER.unpack_from(block, at)
                at += _FRAGMENT_HEADER.size
                fragment = block[at : at + length]
                if zlib.crc32(bytes([kind]) + fragment) != checksum:
                    return
                yield kind, fragment
                at += length
            block, at = file.read(_BLOCK), 0
