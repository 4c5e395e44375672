"""The event files of a folder: which are Delve's own, and which cannot be used.

A name is not enough to know a file by. Delve's own say in their first record who wrote them. What
only bears their name stays as it is, and what cannot be read is put where TensorBoard does not
look for it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorboard.compat.proto.event_pb2 import Event

from delve.base import get_logger
from delve_tensorboard import records
from delve_tensorboard.summaries import WRITER

SUFFIX = ".delve"
MARK = "tfevents"  # TensorBoard reads whatever has it in its name

# What speaks of this file, and not of the process or of a network that is away.
_UNREADABLE = {errno.EACCES, errno.EPERM, errno.EIO}

logger = get_logger(__name__)


def own(folder: Path) -> list[Path]:
    """Delve's own, in the order in which TensorBoard reads them."""
    return [path for path in _of_our_name(folder) if _writer_of(path) == WRITER]


def holds_others(folder: Path) -> bool:
    """Whether another program has event files here, be it one that has written nothing yet."""
    ours = set(own(folder))
    return any(
        path not in ours and (path.suffix != SUFFIX or path.stat().st_size)
        for path in _plain(folder)
    )


def events(path: Path) -> Iterator[tuple[records.Record, Event]]:
    """What a file holds, up to the first record that is damaged or no event."""
    for record in records.read(path):
        try:
            event = Event.FromString(record.payload)
        except DecodeError:
            return
        yield record, event


def set_aside_unusable(folder: Path, largest: int) -> None:
    """Rename what bears the name of Delve's files and cannot be read, or is far too large.

    Args:
        folder: Where to look.
        largest: How many bytes the run explains. A larger file is not looked into.
    """
    for path in _of_our_name(folder):
        if reason := _why_unusable(path, largest):
            aside = _free(path.with_name(path.name.replace(MARK, "set-aside")))
            path.rename(aside)
            logger.warning(
                "%s %s; it is now %s, which TensorBoard does not read, and what the journal holds "
                "of it is written again",
                path,
                reason,
                aside.name,
            )


def _why_unusable(path: Path, largest: int) -> str:
    """The reason, or nothing."""
    size = path.stat().st_size
    if size > largest:
        return f"has {size} bytes, far more than this run can have written"
    try:
        # A file that a crash left empty does no harm, and nobody can tell whose it is.
        return _why_unreadable(path) if size else ""
    except OSError as error:
        if error.errno not in _UNREADABLE:
            raise
        return f"cannot be read ({error.strerror})"


def _why_unreadable(path: Path) -> str:
    """The reason, or nothing: whoever writes an event file begins with its version."""
    for _, event in events(path):
        return "" if event.WhichOneof("what") == "file_version" else "has lost its beginning"
    return "is no event file, or has lost its beginning"


def _writer_of(path: Path) -> str | None:
    """Who a file says has written it, which may be nobody; None where it says nothing."""
    for _, event in events(path):
        return str(event.source_metadata.writer)
    return None


def _of_our_name(folder: Path) -> list[Path]:
    return [path for path in _plain(folder) if path.name.endswith(SUFFIX)]


def _plain(folder: Path) -> list[Path]:
    """The event files of anybody; no links, which lead elsewhere, and no pipes."""
    paths = sorted(folder.glob(f"*{MARK}*"))
    return [path for path in paths if stat.S_ISREG(path.lstat().st_mode)]


def _free(path: Path) -> Path:
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
