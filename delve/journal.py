"""The run's own record, ``journal.jsonl``: the source of truth that writers are fed from.

One JSON object a line: a header, then a line for each epoch, for each resume, for what a writer
remembers, and for hyperparameters that a resumed run changed. A line that says ``resume`` voids
the epochs at or after it that came before.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from delve.errors import JournalError
from delve.journal_lines import decode_epoch, encode, to_json
from delve.recorded_run import FILE_NAME, FORMAT, Contents, read_contents
from delve.records import EpochRecord, enumerate_epochs

FSYNC_INTERVAL = 1.0  # seconds

logger = logging.getLogger(__name__)


def now_in_ms() -> int:
    """Wall time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Journal:
    """One run's journal, open for appending.

    Made by :meth:`create` or :meth:`resume`. A disk that refuses a line does not stop the
    training: the line is kept in memory and tried again with the next one.
    """

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self._contents = contents
        self._pending = bytearray()  # lines that the disk has refused so far
        self._synced_at = 0.0
        self._refused = False
        if path.is_symlink():
            raise JournalError(
                f"{path} is a link, and Delve writes nothing behind links; put the file in its "
                "place, or name another savefile"
            )
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.open(path, flags, 0o666)

    @classmethod
    def open(
        cls, folder: Path, initial_epoch: int, layers: Sequence[str], config: Mapping[str, Any]
    ) -> Journal:
        """The journal of a new run, or of one that goes on from ``initial_epoch``."""
        if initial_epoch == 0:
            return cls.create(folder, layers, config)
        return cls.resume(folder, initial_epoch, layers, config)

    @classmethod
    def create(cls, folder: Path, layers: Sequence[str], config: Mapping[str, Any]) -> Journal:
        """Begin a new run's journal; an earlier run's is kept as ``journal.1.jsonl`` and so on."""
        path = folder / FILE_NAME
        if path.exists():
            path.rename(_next_free_name(folder))
        return cls._begin(path, layers, config)

    @classmethod
    def _begin(cls, path: Path, layers: Sequence[str], config: Mapping[str, Any]) -> Journal:
        journal = cls(path, Contents())
        journal._append(
            {
                "type": "run",
                "format": FORMAT,
                "run_id": uuid.uuid4().hex,
                "created": now_in_ms(),
                "layers": list(layers),
                "config": dict(config),
            }
        )
        return journal

    @classmethod
    def resume(
        cls,
        folder: Path,
        initial_epoch: int,
        layers: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> Journal:
        """Go on with the folder's journal from ``initial_epoch``, which voids that epoch and later.

        Says which epochs below it are missing. Without a journal a new one begins there.
        """
        path = folder / FILE_NAME
        if path.exists() and path.stat().st_size:
            contents = read_contents(path)
            journal = cls(path, contents)
            os.ftruncate(journal._file, contents.size)
            journal._report_damage(initial_epoch)
        else:
            journal = cls._begin(path, layers, config or {})
            logger.warning(
                "%s: there is no journal to resume from; each backend keeps what it holds below "
                "epoch %d, and nothing can be fed again",
                folder,
                initial_epoch,
            )
        journal._append({"type": "resume", "epoch": initial_epoch, "time": now_in_ms()})
        if config and json.loads(to_json(config)) != journal.config:
            journal._append({"type": "config", "config": dict(config)})
        return journal

    @classmethod
    def reopen(cls, folder: Path) -> Journal:
        """The folder's journal as it is, to feed writers from and keep their states in."""
        path = folder / FILE_NAME
        contents = read_contents(path)
        journal = cls(path, contents)
        os.ftruncate(journal._file, contents.size)
        return journal

    def _report_damage(self, initial_epoch: int) -> None:
        lines = self._contents.damaged_lines
        if lines:
            logger.warning("%s: unreadable lines: %s", self.path, enumerate_epochs(lines))
        missing = sorted(set(range(initial_epoch)) - set(self._contents.places))
        if missing:
            logger.warning(
                "%s holds no record of epochs %s; backends keep what they hold of them",
                self.path,
                enumerate_epochs(missing),
            )

    @property
    def run_id(self) -> str:
        """The identity of the run, kept when it is resumed."""
        return self._contents.run_id

    @property
    def created(self) -> int:
        """When the run began, in milliseconds since 1970."""
        return self._contents.created

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters that were given last."""
        return self._contents.config

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers in forward order, as last recorded."""
        return self._contents.layers

    @property
    def epochs(self) -> list[int]:
        """The recorded epochs, in rising order."""
        return sorted(self._contents.places)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that was ever recorded, voided epochs included, in first-seen order."""
        return tuple(self._contents.metrics)

    def state(self, writer: str) -> dict[str, Any]:
        """What the writer of this name remembered last."""
        return dict(self._contents.states.get(writer, {}))

    def remember(self, writer: str, state: Mapping[str, Any]) -> None:
        """Keep a writer's state, made of values that JSON can hold."""
        self._append({"type": "state", "writer": writer, "state": dict(state)})

    def record(self, record: EpochRecord, layers: Sequence[str]) -> None:
        """Append one epoch; the layers stand in its line where they changed."""
        entry: dict[str, Any] = {
            "type": "epoch",
            "epoch": record.epoch,
            "time": record.timestamp,
            "scalars": record.scalars,
            "metrics": record.metrics,
        }
        if tuple(layers) != self.layers:
            entry["layers"] = list(layers)
        self._append(entry)

    def read(self, epoch: int) -> EpochRecord:
        """One recorded epoch.

        Raises:
            KeyError: The journal does not hold it.
        """
        offset, length = self._contents.places[epoch]
        written = self._contents.size - len(self._pending)
        if offset >= written:
            line = bytes(self._pending[offset - written :][:length])
        else:
            line = os.pread(self._file, length, offset)
        return decode_epoch(line)

    def close(self) -> None:
        """Make everything durable; a second call does nothing."""
        if self._file < 0:
            return
        self._flush()
        if self._pending:
            logger.error(
                "%s: the disk refused the last %d bytes of the journal, which are lost",
                self.path,
                len(self._pending),
            )
        else:
            os.fsync(self._file)
        os.close(self._file)
        self._file = -1

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = encode(entry)
        self._contents.add(entry, self._contents.size, len(line))
        self._contents.size += len(line)
        self._pending += line
        self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        try:
            if self._refused:  # half a line must not stay: what follows it would be unreadable
                os.ftruncate(self._file, self._contents.size - len(self._pending))
            written = 0
            while written < len(self._pending):  # the call after a short one says why it was short
                written += os.write(self._file, bytes(self._pending[written:]))
            if time.monotonic() - self._synced_at >= FSYNC_INTERVAL:
                os.fsync(self._file)
                self._synced_at = time.monotonic()
        except OSError as error:
            if not self._refused:
                logger.warning(
                    "%s cannot be written (%s); its lines are kept in memory and tried again",
                    self.path,
                    error,
                )
            self._refused = True
        else:
            self._pending.clear()
            self._refused = False


def _next_free_name(folder: Path) -> Path:
    number = 1
    while (path := folder / f"journal.{number}.jsonl").exists():
        number += 1
    return path
