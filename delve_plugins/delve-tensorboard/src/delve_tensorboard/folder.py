"""The folder of one TensorBoard run, and the event files in it that are Delve's own."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from delve.base import get_logger
from delve.files import replacing, sync
from delve_tensorboard import event_files, framing
from delve_tensorboard.event_files import SUFFIX, events
from delve_tensorboard.summaries import epoch_of, header, is_about_the_run, is_number, start_mark

_MOST_WAITING = 2**20  # bytes of complete epochs that are not written yet

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One record of a file: an epoch, a mark that readers need, or neither.

    A mark may say that what earlier files hold from an epoch on is void.
    """

    start: int
    end: int
    epoch: int | None
    is_mark: bool
    voids_from: float = math.inf


class EventFolder:
    """One run as TensorBoard knows it: a record an epoch, each process in a file of its own.

    Behind an epoch's record may stand more that belongs to it, and goes where it goes.

    TensorBoard reads the files of a folder in the order of their names, and one of its two
    servers forgets an epoch that is followed by an earlier one. So a new file's name sorts behind
    all others, whatever the clock says, and an epoch that comes late is put in its place.

    Args:
        path: The folder; it is made when there is something to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Path | None = None
        self._end = 0  # where the next record goes; what lies behind was left by a fault
        self._staged_end = 0
        self._waiting = bytearray()  # complete epochs that are still to be written, as is seen by:
        self._waiting_at = 0  # where they go; once they are there, the end lies behind that
        self._first_waiting: int | None = None
        self._staged: bytes | None = None  # an epoch that may wait too
        self._last_epoch = -1
        self._entries: dict[Path, list[_Entry]] = {}

    @property
    def is_open(self) -> bool:
        """Whether this process has a file here."""
        return self._file is not None

    @property
    def first_waiting(self) -> int | None:
        """The first complete epoch that is still to be written."""
        return self._first_waiting if self._still_waiting() else None

    def files(self) -> list[Path]:
        """Delve's own event files, in the order in which TensorBoard reads them."""
        return event_files.own(self.path)

    def set_aside_unusable(self, largest: int) -> None:
        """Rename what bears the name of Delve's files and cannot be read, or is larger."""
        event_files.set_aside_unusable(self.path, largest)

    def remove_files(self) -> None:
        """Begin anew; the files of others stay."""
        self._file, self._last_epoch = None, -1
        for path in self.files():
            path.unlink()

    def read(self) -> set[int]:
        """Take stock of the files; returns the epochs that are there, up to any damage."""
        self._entries = {path: _entries(path) for path in self.files()}
        for path, entries in self._entries.items():
            _report_damage(path, entries)
        self._drop_void()
        return {e.epoch for es in self._entries.values() for e in es if e.epoch is not None}

    def _drop_void(self) -> None:
        """Forget epochs that a later file's mark has TensorBoard drop.

        They were cut when that file was begun; after a power cut they may be back.
        """
        void = math.inf
        for path, entries in reversed(self._entries.items()):
            self._entries[path] = [
                replace(entry, epoch=None)
                if entry.epoch is not None and entry.epoch >= void
                else entry
                for entry in entries
            ]
            void = min([void, *(entry.voids_from for entry in entries)])

    def tags(self) -> set[str]:
        """All tags that can be read."""
        return {
            value.tag
            for path in self.files()
            for _, event in events(path)
            for value in event.summary.value
        }

    def numbers(self) -> Iterator[tuple[int, int | None, float, dict[str, float]]]:
        """Of each record of a row the step, the epoch if it is another, seconds, numbers by tag."""
        for path in self.files():
            for _, event in events(path):
                if event.WhichOneof("what") == "summary" and not is_about_the_run(event):
                    values = event.summary.value
                    numbers = {v.tag: v.simple_value for v in values if is_number(v)}
                    if len(numbers) == len(values):  # not what decorates the epoch
                        yield event.step, epoch_of(event), event.wall_time, numbers

    def trim(self, keep: Callable[[int], bool]) -> None:
        """Of what :meth:`read` has found, keep the epochs for which ``keep`` is true.

        What is about the run as a whole is dropped too, for it is written again.
        """
        self._file, self._last_epoch = None, -1
        for path, entries in self._entries.items():
            epochs = {entry.epoch for entry in entries if entry.epoch is not None}
            kept = {epoch for epoch in epochs if keep(epoch)}
            if kept:
                _cut(path, [e for e in entries if e.epoch in kept or e.is_mark], entries)
                self._last_epoch = max(self._last_epoch, *kept)
                sync(path)  # a power cut must not bring back what is void
            else:
                path.unlink()
        if self._entries:
            sync(self.path)

    def open(self, first_epoch: int, more: bytes = b"") -> None:
        """Begin a file; TensorBoard drops what it has seen here from ``first_epoch`` on.

        Where another program has event files too, it is not told to: it would drop theirs.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / self._free_name()
        try:
            file.touch(exist_ok=False)
            self._file, self._end = file, 0
            mark = start_mark(max(first_epoch, self._last_epoch + 1))
            self._write(header() + (b"" if event_files.holds_others(self.path) else mark) + more)
        except BaseException:
            self._file = None
            with contextlib.suppress(OSError):
                file.unlink()
            raise
        self._end = self._staged_end

    def stage(self, epoch: int, record: bytes, may_wait: bool = False) -> None:
        """Write an epoch's record; until :meth:`commit` the next one takes its place.

        Args:
            epoch: The epoch.
            record: What to write.
            may_wait: Whether it need not be written before the next one that may not wait, or the
                end; the journal holds it meanwhile.
        """
        self._staged = None
        if epoch <= self._last_epoch:
            self._replace(epoch, record)
        elif may_wait and len(self._still_waiting()) < _MOST_WAITING:
            self._staged = record
        else:
            self._write(self._still_waiting() + record)

    def commit(self, epoch: int) -> None:
        """The epoch is complete in all folders."""
        if self._staged is not None:
            if not self._still_waiting():
                self._first_waiting = epoch
            self._waiting += self._staged
            self._staged = None
        else:
            self._end = self._staged_end
        self._last_epoch = max(self._last_epoch, epoch)

    def add(self, epoch: int, record: bytes) -> None:
        """Put one more record behind that of a complete epoch. It may fail on its own."""
        if self._still_waiting() and epoch >= self._last_epoch:
            self._waiting += record
            return
        if epoch >= self._last_epoch or not self._insert(epoch, record):
            self._write(record)
        self._end = self._staged_end

    def close(self, more: bytes = b"") -> None:
        """End the file with a last record, without the remains of an epoch that failed."""
        if self._file is None:
            return
        try:
            self._write(self._still_waiting() + more)
        finally:
            self._file = None

    def _still_waiting(self) -> bytearray:
        """What waits; nothing of it does once it is written, whatever came in at that moment."""
        if self._waiting_at != self._end:
            self._waiting = bytearray()
            self._waiting_at = self._end
        return self._waiting

    def write_waiting(self) -> None:
        """Have the files hold all that is complete, and nothing else."""
        self._write(self._still_waiting())
        self._end = self._staged_end

    def _write(self, data: bytes | bytearray) -> None:
        """Put data behind the last committed record, in one write to the operating system."""
        assert self._file is not None
        with _named(self._file), self._file.open("r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size < self._end:
                raise OSError(errno.EIO, "another program has shortened the file")
            if size > self._end:
                file.truncate(self._end)
                file.seek(self._end)
            if file.write(data) != len(data):
                file.truncate(self._end)  # what arrived is given again
                raise OSError(errno.ENOSPC, "the disk took only a part of an epoch")
        self._staged_end = self._end + len(data)

    def _replace(self, epoch: int, record: bytes) -> None:
        """Put a record in the place of the epoch's earlier one, or before the epochs after it."""
        assert self._file is not None
        self.write_waiting()
        for path in self.files():
            entries = _entries(path)
            _cut(path, [entry for entry in entries if entry.epoch != epoch], entries)
        self._end = self._file.stat().st_size
        if not self._insert(epoch, record):
            self._write(record)

    def _insert(self, epoch: int, record: bytes) -> bool:
        """Put a record before the first of a later epoch; False where there is none."""
        assert self._file is not None
        self.write_waiting()
        for path in self.files():
            for entry in _entries(path):
                if entry.epoch is not None and entry.epoch > epoch:
                    with _rewriting(path) as file:
                        for held in framing.read(path):
                            if held.start == entry.start:
                                file.write(record)
                            file.write(held.raw)
                    self._end = self._staged_end = self._file.stat().st_size
                    return True
        return False

    def _free_name(self) -> str:
        stamps = (re.search(r"tfevents\.(\d{10})\.", path.name) for path in self.path.iterdir())
        newest = max((int(stamp[1]) for stamp in stamps if stamp), default=-1)
        stamp = max(int(time.time()), newest + 1)
        # The hyphen sorts before the dot that stands there in a file which this process begins by
        # other means in the same second: so what TensorBoard is told to drop is none of that.
        host, process = socket.gethostname(), os.getpid()
        return f"events.out.tfevents.{stamp:010d}.{host}.{process}-0{SUFFIX}"


def _entries(path: Path) -> list[_Entry]:
    entries = []
    for record, event in events(path):
        what = event.WhichOneof("what")
        is_mark = what != "summary"
        epoch = None if is_mark or is_about_the_run(event) else event.step
        voids_from = event.step if what == "session_log" else math.inf
        entries.append(_Entry(record.start, record.end, epoch, is_mark, voids_from))
    return entries


def _report_damage(path: Path, entries: list[_Entry]) -> None:
    readable, size = entries[-1].end if entries else 0, path.stat().st_size
    if readable < size:
        logger.warning(
            "%s is damaged from byte %d of %d on; what was recorded behind that is dropped, and "
            "fed again as far as the journal holds it",
            path,
            readable,
            size,
        )


def _cut(path: Path, kept: list[_Entry], entries: list[_Entry]) -> None:
    """Leave only the records ``kept`` of a file's readable ``entries``."""
    if kept == entries[: len(kept)]:
        end = kept[-1].end if kept else 0
        if end < path.stat().st_size:
            os.truncate(path, end)
        return
    starts = {entry.start for entry in kept}
    with _rewriting(path) as file:
        for record in framing.read(path):
            if record.start in starts:
                file.write(record.raw)


@contextlib.contextmanager
def _rewriting(path: Path) -> Iterator[BinaryIO]:
    """A new version of an event file, which takes the old one's place."""
    # TensorBoard reads whatever has "tfevents" in its name, also what a crash leaves behind.
    with replacing(path, ".delve.rewritten.partial") as file:
        yield file


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in an error of the operating system, which the failing write does not."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
