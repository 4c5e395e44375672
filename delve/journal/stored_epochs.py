"""The epochs of a journal as a sequence that holds none of them: each is read when it is wanted."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, overload

from delve.errors import JournalError
from delve.journal.parsing import LineParser
from delve.journal.reading import open_journal
from delve.records import EpochRecord, Epochs

Change = Callable[[EpochRecord], EpochRecord]


class StoredEpochs(Sequence[EpochRecord]):
    """Epochs in rising order.

    Args:
        epochs: Their numbers.
        read: Yields the records at these places.

    Attributes:
        epochs: Their numbers.
    """

    def __init__(
        self, epochs: Epochs, read: Callable[[Sequence[int]], Iterator[EpochRecord]]
    ) -> None:
        self.epochs = epochs
        self._read = read

    @classmethod
    def of(cls, records: Iterable[EpochRecord]) -> StoredEpochs:
        """Epochs that are in memory."""
        held = tuple(records)
        epochs = Epochs(record.epoch for record in held)
        return cls(epochs, lambda places: (held[place] for place in places))

    @classmethod
    def stored(
        cls,
        path: Path,
        file: BinaryIO,
        places: Mapping[int, tuple[int, int]],
        parser: LineParser,
    ) -> StoredEpochs:
        """Those that lie in a journal, which is opened again when they are read.

        Args:
            path: The journal.
            file: The same, open; it need not stay so.
            places: Offset and length of the line of each epoch.
            parser: The one that has parsed the lines before.
        """
        return cls(Epochs(places), _Lines(path, file, places, parser).read)

    def changed(self, change: Change) -> StoredEpochs:
        """The same epochs, each of which is changed when it is read."""
        return StoredEpochs(self.epochs, lambda places: map(change, self._read(places)))

    def of_epoch(self, epoch: int) -> EpochRecord | None:
        """The record of an epoch, None where there is none.

        Raises:
            JournalError: It cannot be read any more.
        """
        return self[self.epochs.index(epoch)] if epoch in self.epochs else None

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[EpochRecord]:
        return self._read(range(len(self)))

    @overload
    def __getitem__(self, place: int) -> EpochRecord: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[EpochRecord]: ...

    def __getitem__(self, place: int | slice) -> EpochRecord | Sequence[EpochRecord]:
        chosen = range(len(self))[place]
        if isinstance(chosen, int):
            return next(self._read([chosen]))
        return self._part(chosen)

    def _part(self, chosen: range) -> Sequence[EpochRecord]:
        if chosen.step < 0:  # they no longer rise
            return tuple(self._read(chosen))
        epochs = Epochs(self.epochs[place] for place in chosen)
        return StoredEpochs(epochs, lambda places: self._read([chosen[place] for place in places]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredEpochs | tuple):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return f"<{len(self)} stored epochs>"


class _Lines:
    """The lines of a journal that hold epochs."""

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        places: Mapping[int, tuple[int, int]],
        parser: LineParser,
    ) -> None:
        self._path = path
        self._parser = parser
        self._identity = _identity(file)
        self._epochs = Epochs(places)
        self._offsets = array("q", (offset for offset, _ in places.values()))
        self._lengths = array("q", (length for _, length in places.values()))

    def read(self, places: Sequence[int]) -> Iterator[EpochRecord]:
        """The records at these places.

        Raises:
            JournalError: The journal is another one by now, or was changed.
        """
        try:
            with open_journal(self._path) as file:
                if _identity(file) != self._identity:
                    raise self._changed()
                for place in places:
                    content = os.pread(file.fileno(), self._lengths[place], self._offsets[place])
                    yield self._decoded(content, self._epochs[place])
        except OSError as error:
            raise JournalError(
                f"{self._path} cannot be read any more ({error.strerror or error})"
            ) from error

    def _decoded(self, content: bytes, epoch: int) -> EpochRecord:
        try:
            line = self._parser.parse_epoch(content)
        except ValueError as error:
            raise self._changed() from error
        if line.epoch != epoch:
            raise self._changed()
        return line.record

    def _changed(self) -> JournalError:
        return JournalError(
            f"{self._path} was changed by another program while it was read; read it again"
        )


def _identity(file: BinaryIO) -> tuple[int, int]:
    """What tells a file from another one of its name."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino
