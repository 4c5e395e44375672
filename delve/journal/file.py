"""The journal's file: begun whole, then appended to, line by line."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from delve.base.log import get_logger
from delve.errors import JournalError
from delve.files.pace import Pace
from delve.files.whole import replacing, sync
from delve.journal.reading import journal_descriptor

FSYNC_INTERVAL = 1.0  # seconds
FSYNC_SHARE = 0.05  # of the run's time, on a disk that takes long over it

_AT_ONCE = 1 << 16  # bytes

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
        ends_in_newline: Whether the last of these lines does; it is given one if not.
        last_number: The number of the last line.

    Raises:
        JournalError: It cannot be opened, or is no plain file.
    """

    def __init__(
        self, path: Path, size: int, ends_in_newline: bool = True, last_number: int = 0
    ) -> None:
        self.path = path
        self._file = journal_descriptor(path, os.O_RDWR | os.O_APPEND)
        # How far the file is whole, and the number of the last line there: replaced in one step, as
        # a Ctrl-C between two would leave the one without the other. Lines behind that are queued
        # by where they belong, each with its number.
        self._written = (size, last_number)
        self._queue: dict[int, tuple[int, bytes]] = {}
        if not ends_in_newline:
            self._queue[size] = (last_number, b"\n")
        self._may_be_torn = True  # the file may go on beyond that place
        self._pace = Pace(FSYNC_SHARE, FSYNC_INTERVAL)
        self._complaints: set[str] = set()

    @property
    def is_deleted(self) -> bool:
        """Whether somebody has removed the file, so that nothing in it will remain."""
        return self._file >= 0 and os.fstat(self._file).st_nlink == 0

    def add(self, line_of: Callable[[int], bytes]) -> tuple[int, int, int]:
        """Take the line of the next number, which :meth:`flush` writes.

        Returns:
            Its number, where in the file it will lie, and its length.
        """
        offset, last = self._written
        if self._queue:
            start, (last, queued) = next(reversed(self._queue.items()))
            offset = start + len(queued)
        line = line_of(last + 1)
        self._queue[offset] = (last + 1, line)
        return last + 1, offset, len(line)

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes from there, a line, be it in the file yet or not."""
        if offset >= self._written[0]:
            return self._queue[offset][1]
        return os.pread(self._file, length, offset)

    def flush(self) -> None:
        """Write the lines that were added; from time to time have the disk confirm them."""
        self._try_to_write()
        if self._pace.is_due():
            with self._pace.measured():
                self._sync()

    def sync(self) -> None:
        """Have the disk confirm all lines now, however short a while ago it last did."""
        self._try_to_write()
        self._sync()

    def close(self) -> None:
        """Make everything durable; a second call does nothing."""
        if self._file < 0:
            return
        try:
            self.sync()
            self._name_what_is_lost()
        finally:
            descriptor, self._file = self._file, -1
            with contextlib.suppress(OSError):  # after an fsync it has nothing new to say
                os.close(descriptor)

    def _try_to_write(self) -> None:
        try:
            self._write()
        except OSError as error:
            self._complain(_REFUSED, error)
        else:
            self._complaints.discard(_REFUSED)

    def _write(self) -> None:
        while self._queue:
            self._write_some()

    def _write_some(self) -> None:
        """Write the first of the lines: on a disk that stays full each try costs the same."""
        start, _ = self._written
        for offset in [offset for offset in self._queue if offset < start]:
            del self._queue[offset]  # written before a Ctrl-C came
        if not self._queue:
            return
        lines, length = [], 0
        for number_and_line in self._queue.values():
            lines.append(number_and_line)
            length += len(number_and_line[1])
            if length >= _AT_ONCE:
                break
        data = b"".join(line for _, line in lines)
        if self._may_be_torn:  # half a line must not stay: what follows it would be unreadable
            os.ftruncate(self._file, start)
        self._may_be_torn = True  # until all is there, whatever comes between
        written = 0
        while written < len(data):  # the call after a short one says why it was short
            written += os.write(self._file, data[written:])
        self._written = start + len(data), lines[-1][0]
        self._may_be_torn = False
        for offset in list(self._queue)[: len(lines)]:
            del self._queue[offset]

    def _sync(self) -> None:
        try:
            if self.is_deleted:
                self._complain(_DELETED)
            os.fsync(self._file)
        except OSError as error:
            self._complain(_NOT_SYNCED, error)

    def _complain(self, message: str, *reasons: OSError) -> None:
        if message not in self._complaints:
            self._complaints.add(message)
            logger.warning(message, self.path, *reasons)

    def _name_what_is_lost(self) -> None:
        lost = sum(len(line) for _, line in self._queue.values())
        if lost:
            logger.error(
                "%s: the disk refused the last %d bytes of the journal, which are lost",
                self.path,
                lost,
            )


def begin(path: Path, lines: Iterable[bytes]) -> Path | None:
    """Make a new file of these lines; an earlier one is kept as ``journal.1.jsonl`` and so on.

    A crash at any moment leaves the one or the other.

    Returns:
        Where the earlier one is kept, if there was one.

    Raises:
        JournalError: It cannot be made.
    """
    try:
        with replacing(path) as file:
            file.writelines(lines)
            file.flush()
            with contextlib.suppress(OSError):  # some file systems have no fsync
                os.fsync(file.fileno())
            kept = _keep(path) if is_begun(path) else None
    except OSError as error:
        raise JournalError(
            f"the journal cannot be begun ({error}); make room for it, change the permissions, or "
            "name another savefile"
        ) from error
    sync(path.parent)
    return kept


def is_begun(path: Path) -> bool:
    """Whether there is anything but an empty file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return status.st_size > 0 or not stat.S_ISREG(status.st_mode)


def _keep(path: Path) -> Path:
    """Give a file one more name, under which it stays when another takes its place."""
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.stem}.{number}{path.suffix}")):
        if os.path.samestat(kept.lstat(), path.lstat()):
            return kept  # it was given to it by a process that was killed right after
        number += 1
    try:
        os.link(path, kept, follow_symlinks=False)
    except OSError:  # a file system without links, or no file at all
        path.rename(kept)
    return kept
