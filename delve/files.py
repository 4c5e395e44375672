"""Files that are whole or not there, and names that stay inside their folder."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MAX_NAME_LENGTH = 150

_REFUSED = re.compile(r"[^A-Za-z0-9._-]")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows


@contextlib.contextmanager
def replacing(path: Path, temporary_name: str | None = None) -> Iterator[BinaryIO]:
    """A file beside ``path`` that takes its place once it was written without an error.

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


def with_digest(cleaned: str, name: str, max_length: int) -> str:
    """``cleaned``, which ``name`` had to become, told apart from what other names become."""
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{cleaned[: max_length - len(digest) - 1]}-{digest}"


def file_name(name: str) -> str:
    """A metric's or layer's name as the name of one file or folder, the same in every run.

    A name that can stand as it is does. One that has to be changed ends in a digest of the
    original, so that two names never meet in one file.
    """
    cleaned = _REFUSED.sub("_", name)
    fits = len(name) <= MAX_NAME_LENGTH and not _DEVICE.fullmatch(name)
    if cleaned == name and fits and name.strip(".") and not name.startswith("."):
        return name
    return with_digest("_" + cleaned.lstrip("."), name, MAX_NAME_LENGTH)
