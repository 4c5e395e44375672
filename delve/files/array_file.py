"""Files of one array, that tell whose they are and whether they are as they were written.

The format is NumPy's own, with nothing behind the array: many readers read to the end of the file.
The header is as long as no other program makes it, by spaces, which the format allows. The CRC-32
of the file is kept elsewhere, see :class:`delve.files.checksums.Checksums`. Earlier versions put it
behind the array, as a second array.
"""

from __future__ import annotations

import io
import math
import os
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import numpy as np

from delve.files.plain import open_plain

_MAGIC = np.lib.format.magic(1, 0)
_LENGTH = 256  # bytes of magic and header; NumPy's own have 128
_SPACES = 100  # at the header's end, at least; NumPy puts up to 84 there

# What no file begins with but one of Delve's: a short header is padded to that length.
_BEGINNING = _MAGIC + (_LENGTH - len(_MAGIC) - 2).to_bytes(2, "little") + b"{'descr': '<f"
_SECTOR = 512  # bytes that a disk writes at once
_ITEM = 8  # bytes, of a number


class DamagedArrayError(ValueError):
    """A file does not hold the array that was written to it."""


def _encode_header(array: np.ndarray) -> bytes:
    """What a file of this array begins with."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    text = header.getvalue()[len(_MAGIC) + 2 :].rstrip()
    if len(text) > _LENGTH - len(_MAGIC) - 3:  # of very many dimensions
        return header.getvalue()
    padded = text.ljust(_LENGTH - len(_MAGIC) - 3) + b"\n"
    return _MAGIC + len(padded).to_bytes(2, "little") + padded


def write_array(file: BinaryIO, array: np.ndarray) -> str:
    """Write an array, of any dtype but object; returns the CRC-32 of the file, as 8 digits."""
    array = np.asarray(array, order="C")
    header = _encode_header(array)
    values = array.reshape(-1).view(np.uint8).data
    file.write(header)
    file.write(values)
    return f"{zlib.crc32(values, zlib.crc32(header)):08x}"


def read_array(path: Path, checksums: Collection[str] = ()) -> np.ndarray:
    """Read an array.

    Args:
        path: The file, which is not read if it is of another size than its header says.
        checksums: One of these must be the file's; with none it is taken as it is.

    Raises:
        DamagedArrayError: The file was cut short or changed, or never held an array.
        OSError: It cannot be read, or is no plain file.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        try:
            size = _size_by_header(file)
        except ValueError as error:
            raise DamagedArrayError(f"{path} is damaged: {error}") from error
        held = os.fstat(file.fileno()).st_size
        if held not in (size, size + _CHECKSUM_SIZE):
            raise DamagedArrayError(f"{path} is damaged: it holds {held} bytes instead of {size}")
        file.seek(0)
        try:
            content = file.read(size)
            checksum, behind = zlib.crc32(content), file.read(_CHECKSUM_SIZE)
            array: np.ndarray = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError, MemoryError, OverflowError) as error:
            raise DamagedArrayError(f"{path} is damaged: {error}") from error
    by_earlier_version = behind == _encoded(checksum)
    if not by_earlier_version and (behind or (checksums and f"{checksum:08x}" not in checksums)):
        raise DamagedArrayError(f"{path} is damaged: its checksum is not that of its content")
    return array


def is_written_by_delve(path: Path) -> bool:
    """Whether a file bears a mark of Delve's: its header, or an earlier version's checksum.

    Raises:
        OSError: It cannot be read, or is no plain file.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        head = file.read(_LENGTH)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _CHECKSUM_SIZE, 0))
        tail = file.read(_CHECKSUM_SIZE)
    bears_header = head.startswith(_MAGIC) and head.endswith(b" " * _SPACES + b"\n")
    return bears_header or (size > _CHECKSUM_SIZE and tail.startswith(_encoded(0)[:-4]))


def is_whole(path: Path) -> bool:
    """Whether a file is one array, by whomever, and nothing else.

    Raises:
        OSError: It cannot be read, or is no plain file.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        try:
            return _size_by_header(file) == os.fstat(file.fileno()).st_size
        except ValueError:
            return False


def is_remnant(path: Path) -> bool:
    """Whether a power cut can have left this of a file: nothing, zeros, or a part of the header.

    Raises:
        OSError: It cannot be read, or is no plain file.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        head = file.read(_LENGTH).rstrip(b"\0")
    return len(head) < _LENGTH and head.startswith(_BEGINNING[: len(head)])


def may_lack_values(path: Path) -> bool:
    """Whether there are zeros where a power cut leaves them: in a whole sector, or at the end.

    Raises:
        OSError: It cannot be read, or is no plain file.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        content = file.read()
    sectors = (content[at : at + _SECTOR] for at in range(0, len(content), _SECTOR))
    return content.endswith(bytes(_ITEM)) or not all(sector.strip(b"\0") for sector in sectors)


def _size_by_header(file: BinaryIO) -> int:
    """How many bytes a file of one array has.

    Raises:
        ValueError: Its header cannot be read, or it holds objects.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    except OSError:
        raise
    except Exception as error:  # a damaged header raises whatever its bytes lead to
        raise ValueError(f"its header cannot be read ({error})") from error
    if dtype.hasobject:
        raise ValueError("it holds objects, which are not loaded (allow_pickle=False)")
    return file.tell() + math.prod(shape) * dtype.itemsize


def _encoded(checksum: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(checksum, dtype="<u4"))
    return file.getvalue()


_CHECKSUM_SIZE = len(_encoded(0))
