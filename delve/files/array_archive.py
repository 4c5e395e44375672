"""Files of many arrays, ``.npz``, as Delve writes them: stored, not compressed."""

from __future__ import annotations

import io
import zipfile

import numpy as np

_SUFFIX = ".npy"


def read_archive(content: bytes) -> tuple[dict[str, np.ndarray], bytes]:
    """The arrays of an archive by name, and its comment.

    They are no larger than the file, whatever its members say.

    Raises:
        ValueError: It is compressed, or its parts overlap, or one is no array.
        zipfile.BadZipFile: It is no zip file, or damaged.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed, which Delve's are not")  # to whatever size
        if sum(member.file_size for member in archive.infolist()) > len(content):
            raise ValueError("its parts overlap")
        arrays = {
            name.removesuffix(_SUFFIX): _array(archive.read(name)) for name in archive.namelist()
        }
        return arrays, archive.comment


def _array(content: bytes) -> np.ndarray:
    try:
        array: np.ndarray = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (EOFError, MemoryError, OverflowError, SyntaxError, TypeError) as error:
        raise ValueError(f"it holds what is no array ({error})") from error
    return array
