"""Files that are whole or not there, and names that stay inside their folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from delve.errors import WriterConfigurationError

MAX_NAME_LENGTH = 150

_REFUSED = re.compile(r"[^A-Za-z0-9._-]")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows
_DIGEST_LENGTH = 8
_DIGEST = re.compile(rf"-[0-9a-f]{{{_DIGEST_LENGTH}}}\Z")

# A link would lead elsewhere, to open a pipe would wait for somebody at its other end, and Windows
# would change the ends of lines.
_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


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


def open_plain(path: Path, flags: int) -> int:
    """A descriptor of a file that is a file: no link is followed, no pipe waited for.

    Raises:
        OSError: It cannot be opened, or is something else.
    """
    descriptor = os.open(path, flags | _AS_IT_IS, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return descriptor


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


def names_for(path: Path) -> Iterator[Path]:
    """The path, then what a writer calls its file where that name is another program's.

    ``metrics.csv``, ``metrics-delve.csv``, ``metrics-delve-2.csv`` and so on, without an end.
    """
    yield path
    for number in itertools.count(1):
        count = f"-{number}" if number > 1 else ""
        yield path.with_name(f"{path.stem}-delve{count}{path.suffix}")


def taken_names(path: Path) -> list[Path]:
    """Those of :func:`names_for` at which there is something, be it a link that leads nowhere."""
    others = itertools.takewhile(os.path.lexists, itertools.islice(names_for(path), 1, None))
    return [*([path] if os.path.lexists(path) else []), *others]


def free_name(path: Path) -> Path:
    """The first of :func:`names_for` at which there is nothing."""
    return next(name for name in names_for(path) if not os.path.lexists(name))


def is_plain(path: Path) -> bool:
    """Whether a file stands there: neither a link, nor a folder, a pipe or a device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def refuse_unless_plain(path: Path) -> None:
    """Refuse what stands in place of a backend's file and is none, before anybody waits for it.

    Raises:
        WriterConfigurationError: There is something, and it is no plain file.
    """
    if os.path.lexists(path) and not is_plain(path):
        raise WriterConfigurationError(
            f"{path} is {_kind(path)}, where Delve keeps a file; move it away, or name another "
            "savefile"
        )


def refuse_if_larger(path: Path, most: int) -> None:
    """Refuse a file that no run of Delve can have made so large, before it fills the memory.

    Raises:
        WriterConfigurationError: It is larger than ``most`` bytes.
    """
    if (size := path.lstat().st_size) > most:
        raise WriterConfigurationError(
            f"{path} holds {size} bytes, far more than the journal beside it explains; move it "
            "away, and it is written anew from the journal"
        )


def _kind(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "no plain file"


def sync(path: Path) -> None:
    """Have a file's content, or the names in a folder, outlast a power cut, if that can be had."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def with_digest(cleaned: str, name: str, max_length: int) -> str:
    """``cleaned``, which ``name`` had to become, told apart from what other names become.

    A name that :func:`ends_in_digest` must not stand as it is beside such names.
    """
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    return f"{cleaned[: max_length - len(digest) - 1]}-{digest}"


def ends_in_digest(name: str) -> bool:
    """Whether a name looks like one that :func:`with_digest` has made."""
    return _DIGEST.search(name) is not None


def file_name(name: str) -> str:
    """A metric's or layer's name as the name of one file or folder, the same in every run.

    A name that can stand as it is does. One that has to be changed ends in a digest of the
    original, so that two names never meet in one file; nor does one stand that ends like that. On
    a disk that takes ``Conv`` and ``conv`` for the same they do meet.
    """
    cleaned = _REFUSED.sub("_", name)
    is_taken = _DEVICE.fullmatch(name) or ends_in_digest(name)
    fits = 0 < len(name) <= MAX_NAME_LENGTH and not name.startswith(".")
    if cleaned == name and fits and not is_taken:
        return name
    return with_digest("_" + cleaned.lstrip("."), name, MAX_NAME_LENGTH)
