"""Files that are whole or not there, and files that are kept under another name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path, temporary_name: str | None = None) -> Iterator[BinaryIO]:
    """A file beside ``path`` that takes its place once it was written without an error.

    It is not fsynced: what a power cut takes of a backend's file, the journal gives back.

    Raises:
        OSError: It cannot be written; the message names a file.
    """
    temporary = path.with_name(temporary_name or unfinished_name(path.name))
    temporary.unlink(missing_ok=True)  # left by a crash, or a link set up to lead elsewhere
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # of write, on a full disk
            raise OSError(f"{path} cannot be written: {error}") from error
        raise


def unfinished_name(name: str) -> str:
    """What :func:`replacing` calls a file of this name until it is whole."""
    return f".{name}.tmp"


def set_aside(path: Path, word: str) -> Path:
    """Rename a file or folder, ``table.csv`` to ``table.<word>.csv``; nothing overwrites it.

    Returns:
        Its new path, which was free.
    """
    number, free = 1, path.with_name(f"{path.stem}.{word}{path.suffix}")
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}.{word}-{number}{path.suffix}")
    return path.rename(free)


def sync(path: Path) -> None:
    """Have a file's content, or the names in a folder, outlast a power cut, if that can be had."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
