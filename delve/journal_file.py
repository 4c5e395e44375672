"""The journal's file: begun whole, then appended to, line by line."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

from delve.errors import JournalError
from delve.files import replacing, sync_folder
from delve.log import get_logger
from delve.recorded_run import journal_descriptor

FSYNC_INTERVAL = 1.0  # seconds

_REFUSED = "%s cannot be written (%s); its lines are kept in memory and tried again"
_NOT_SYNCED = (
    "%s: the disk does not confirm that it holds the lines written last (%s); they are lost if it "
    "does not, for example in a power cut"
)
_DELETED = (
    "%s was deleted, so nothing that is recorded from now on will remain in it; close the tracker, "
    "and make a new one to keep the rest"
)

logger = get_logger("delve.journal")  # one name for all that is said of the journal


class JournalFile:
    """A file of lines, open for appending. What the disk refuses does not stop the training.

    A Ctrl-C at any moment leaves the file with or without the line under way: in a notebook the
    training goes on after it.

    Args:
        path: The file, which is there.
        size: Its first bytes that are whole lines; the rest is cut off before more are written.

    Raises:
        JournalError: It cannot be opened, or is no plain file.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._file = journal_descriptor(path, os.O_RDWR | os.O_APPEND)
        # Where the lines that are not yet in the file belong, and these. They are replaced in one
        # step: a Ctrl-C between two would leave the one without the other.
        self._unwritten = (size, b"")
        self._may_be_torn = True  # the file may go on beyond that place
        self._synced_at = 0.0
        self._complaints: set[str] = set()

    def add(self, line: bytes) -> int:
        """Take a line, which :meth:`flush` writes; returns where in the file it will lie."""
        start, lines = self._unwritten
        self._unwritten = start, lines + line
        return start + len(lines)

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes from there, be they in the file yet or not."""
        start, lines = self._unwritten
        if offset >= start:
            return lines[offset - start :][:length]
        return os.pread(self._file, length, offset)

    def flush(self) -> None:
        """Write the lines that were added; from time to time have the disk confirm them."""
        try:
            self._write()
        except OSError as error:
            self._complain(_REFUSED, error)
        else:
            self._complaints.discard(_REFUSED)
        if time.monotonic() - self._synced_at >= FSYNC_INTERVAL:
            self._sync()

    def close(self) -> None:
        """Make everything durable; a second call does nothing."""
        if self._file < 0:
            return
        try:
            self.flush()
            self._sync()
            self._name_what_is_lost()
        finally:
            descriptor, self._file = self._file, -1
            with contextlib.suppress(OSError):  # after an fsync it has nothing new to say
                os.close(descriptor)

    def _write(self) -> None:
        start, lines = self._unwritten
        if self._may_be_torn:  # half a line must not stay: what follows it would be unreadable
            os.ftruncate(self._file, start)
        self._may_be_torn = True  # until all is there, whatever comes between
        written = 0
        while written < len(lines):  # the call after a short one says why it was short
            written += os.write(self._file, lines[written:])
        self._unwritten = start + written, b""
        self._may_be_torn = False

    def _sync(self) -> None:
        try:
            if os.fstat(self._file).st_nlink == 0:
                self._complain(_DELETED)
            os.fsync(self._file)
        except OSError as error:
            self._complain(_NOT_SYNCED, error)
        self._synced_at = time.monotonic()

    def _complain(self, message: str, *reasons: OSError) -> None:
        if message not in self._complaints:
            self._complaints.add(message)
            logger.warning(message, self.path, *reasons)

    def _name_what_is_lost(self) -> None:
        _, lines = self._unwritten
        if lines:
            logger.error(
                "%s: the disk refused the last %d bytes of the journal, which are lost",
                self.path,
                len(lines),
            )


def begin(path: Path, lines: bytes) -> None:
    """Make a new file of these lines; an earlier one is kept as ``journal.1.jsonl`` and so on.

    A crash at any moment leaves the one or the other.

    Raises:
        JournalError: It cannot be made.
    """
    try:
        with replacing(path) as file:
            file.write(lines)
            file.flush()
            with contextlib.suppress(OSError):  # some file systems have no fsync
                os.fsync(file.fileno())
            if is_begun(path):
                _keep(path)
    except OSError as error:
        raise JournalError(
            f"the journal cannot be begun ({error}); make room for it, change the permissions, or "
            "name another savefile"
        ) from error
    sync_folder(path.parent)


def is_begun(path: Path) -> bool:
    """Whether there is anything but an empty file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return status.st_size > 0 or not stat.S_ISREG(status.st_mode)


def _keep(path: Path) -> None:
    """Give a file one more name, under which it stays when another takes its place."""
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.stem}.{number}{path.suffix}")):
        if os.path.samestat(kept.lstat(), path.lstat()):
            return  # it was given to it by a process that was killed right after
        number += 1
    try:
        os.link(path, kept, follow_symlinks=False)
    except OSError:  # a file system without links, or no file at all
        path.rename(kept)
