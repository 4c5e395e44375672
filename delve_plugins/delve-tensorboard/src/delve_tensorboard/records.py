"""The frame of an event file: each record is a length, a payload, and a checksum of both.

TensorBoard's own writer hands records to a thread. An error there shows at some later call, with
no word of which epoch was lost, and again at every call after it, ``close`` included. So records
are framed here, for whoever has them to write at once; and as TensorBoard computes the checksum
byte by byte in Python, it is computed here in blocks, 20 times faster.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from delve.files import open_plain

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), bits reversed
_BLOCK = 1024  # bytes summed at once; the table of 1 MB stays in the processor's cache
_MASK = 0xA282EAD8

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_HEADER = _LENGTH.size + _CHECKSUM.size
_LONGEST = 2**28  # bytes of a payload; an epoch of a million metrics has less


@dataclass(frozen=True, slots=True)
class Record:
    """One whole record.

    Attributes:
        start: Where it begins in the file, in bytes.
        raw: The payload in its frame.
    """

    start: int
    raw: bytes

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.start + len(self.raw)

    @property
    def payload(self) -> bytes:
        """What the frame holds."""
        return self.raw[_HEADER : -_CHECKSUM.size]


def frame(payload: bytes) -> bytes:
    """A payload as the record that stands in the file."""
    return _header(len(payload)) + payload + _checksum(payload)


@functools.lru_cache(1024)
def _header(length: int) -> bytes:
    """What stands before so many bytes; records of one run are of few lengths."""
    packed = _LENGTH.pack(length)
    return packed + _checksum(packed)


def read(path: Path) -> Iterator[Record]:
    """The whole records of a file, up to the first that is torn or damaged.

    A length that the file does not have, or none of Delve's records, is damage too: it is not
    believed.

    Raises:
        OSError: It cannot be read, or is no plain file.
    """
    start = 0
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        end = os.fstat(file.fileno()).st_size
        while True:
            header = file.read(_HEADER)
            if len(header) < _HEADER:
                return
            size = _LENGTH.unpack_from(header)[0]
            if header != _header(size):
                return
            if size > min(_LONGEST, end - start):
                return
            body = file.read(size + _CHECKSUM.size)
            if len(body) < size + _CHECKSUM.size or body[size:] != _checksum(body[:size]):
                return
            record = Record(start, header + body)
            yield record
            start = record.end


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)


def in_blocks(data: bytes) -> int:
    """CRC-32C, a block of bytes at a time.

    A checksum is linear: it is the exclusive or of what each byte would give alone, which depends
    on its value and on how many bytes follow. The state so far counts as part of the first bytes.
    """
    table, rows = _contributions()
    state = 0xFFFFFFFF
    for start in range(0, len(data), _BLOCK):
        block = np.frombuffer(data[start : start + _BLOCK], np.uint8).astype(np.intp)
        carried = min(4, len(block))
        block[:carried] ^= np.frombuffer(_CHECKSUM.pack(state), np.uint8)[:carried]
        cells = block + rows[_BLOCK - len(block) :]
        state = state >> 8 * carried ^ int(np.bitwise_xor.reduce(table[cells]))
    return state ^ 0xFFFFFFFF


@functools.cache
def _contributions() -> tuple[np.ndarray, np.ndarray]:
    """A row of 256 values for each place in a block, flat, and where each row begins."""
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & 1, row >> 1 ^ np.uint32(_POLYNOMIAL), row >> 1)
    last = row
    table = np.empty((_BLOCK, 256), dtype=np.uint32)
    for place in reversed(range(_BLOCK)):
        table[place] = row
        row = last[row & 0xFF] ^ row >> 8  # one byte more follows
    return table.reshape(-1), np.arange(_BLOCK, dtype=np.intp) * 256


def _quickest() -> Callable[[bytes], int]:
    """Google's CRC-32C, if it is the one in C: that in Python says that it is slow, and is."""
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        library: Any = importlib.import_module("google_crc32c")
        if library.implementation == "c":
            return library.value  # type: ignore[no-any-return]
    return in_blocks


crc32c = _quickest()
