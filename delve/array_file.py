"""Files of one array that tell whether they are as they were written.

The format is NumPy's own, which may hold several arrays one after the other: the first is the
array, which is all that :func:`numpy.load` reads, and the second the CRC-32 of the bytes before it.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np


class DamagedArrayError(ValueError):
    """A file does not hold the array that was written to it."""


def write_array(file: BinaryIO, array: np.ndarray) -> None:
    """Write an array, of any dtype but object, and its checksum."""
    array = np.asarray(array, order="C")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    values = array.reshape(-1).view(np.uint8).data
    checksum = zlib.crc32(values, zlib.crc32(header.getbuffer()))
    file.write(header.getbuffer())
    file.write(values)
    file.write(_encoded(checksum))


def read_array(path: Path) -> np.ndarray:
    """Read an array; one that bears no checksum is taken as it is.

    Raises:
        DamagedArrayError: The file was cut short or changed, or never held an array.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        content = memoryview(file.read())
        stored, checksum = content[:-_CHECKSUM_SIZE], bytes(content[-_CHECKSUM_SIZE:])
        bears_checksum = checksum.startswith(np.lib.format.MAGIC_PREFIX)
        if bears_checksum and checksum != _encoded(zlib.crc32(stored)):
            raise DamagedArrayError(f"{path} is damaged: its checksum is not that of its content")
        file.seek(0)
        try:
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError, MemoryError, OverflowError) as error:
            raise DamagedArrayError(f"{path} is damaged: {error}") from error
        if not bears_checksum and file.read(1):
            raise DamagedArrayError(f"{path} is damaged: more follows than one array")
    return array


def _encoded(checksum: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(checksum, dtype="<u4"))
    return file.getvalue()


_CHECKSUM_SIZE = len(_encoded(0))
