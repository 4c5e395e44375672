"""How Delve knows its own figures: by a text in the header, which others' figures lack."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from delve.files import open_plain

SIGNATURE = {"Software": "Delve's plot writer"}  # a keyword that PNG's specification defines

_PNG = b"\x89PNG\r\n\x1a\n"
_SECTOR = 512  # bytes that a disk writes at once
_FIRST_PART = 64  # bytes: in a figure there is more than zeros behind them
_LOOKED_AT = 4096  # bytes; texts stand before the pixels
_CHUNK = struct.Struct(">I4s")  # length and type, then the data and the checksum of type and data
_CHECKSUM = struct.Struct(">I")


def is_own(path: Path) -> bool:
    """Whether a file is a figure of Delve's, or what a power cut has left of one."""
    return is_signed(path) or is_blank(path)


def is_signed(path: Path) -> bool:
    """Whether a file is a figure of the plot writer's, or the beginning of one.

    What may not be read is not known to be.
    """
    try:
        descriptor = open_plain(path, os.O_RDONLY)
    except PermissionError:
        return False
    try:
        head = os.read(descriptor, _LOOKED_AT)
    finally:
        os.close(descriptor)
    return head.startswith(_PNG) and any(
        text == b"\0".join((keyword.encode(), value.encode()))
        for text in _texts(head)
        for keyword, value in SIGNATURE.items()
    )


def is_blank(path: Path) -> bool:
    """Whether a file goes over to zeros where it begins, as a power cut leaves it: no figure.

    What may not be read is not known to.
    """
    try:
        with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
            head = file.read(_SECTOR)
    except PermissionError:
        return False
    return len(head.rstrip(b"\0")) < min(_FIRST_PART, len(head))


def is_whole(path: Path) -> bool:
    """Whether all of a figure is there, by the checksums of its parts.

    Raises:
        OSError: It cannot be read, or is no plain file.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        content = file.read()
    start, kind = len(_PNG), b""
    while start + _CHUNK.size <= len(content):
        length, kind = _CHUNK.unpack_from(content, start)
        end = start + _CHUNK.size + length
        checksum = zlib.crc32(content[start + _CHUNK.size - len(kind) : end])
        if content[end : end + _CHECKSUM.size] != _CHECKSUM.pack(checksum):
            return False
        start = end + _CHECKSUM.size
    return kind == b"IEND" and start == len(content)


def _texts(head: bytes) -> list[bytes]:
    """The texts before the pixels: keyword, a zero, and the text."""
    texts, start = [], len(_PNG)
    while start + _CHUNK.size <= len(head):
        length, kind = _CHUNK.unpack_from(head, start)
        start += _CHUNK.size
        if kind == b"IDAT":
            break
        if kind == b"tEXt":
            texts.append(head[start : start + length])
        start += length + 4
    return texts
