"""The run's own record, ``journal.jsonl``: the source of truth that writers are fed from.

One JSON object a line: a header, then a line for each epoch, for each resume, for what a writer
remembers, and for hyperparameters that a resumed run changed. A line that says ``resume`` voids
the epochs at or after it that came before.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delve.errors import JournalError
from delve.records import EpochRecord, Metric

FILE_NAME = "journal.jsonl"
FORMAT = 1
FSYNC_INTERVAL = 1.0  # seconds

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_CHECKSUM_MARK = b', "crc32": '
_CHECKSUM = _CHECKSUM_MARK + b'"%08x"}\n'

logger = logging.getLogger(__name__)


def now_in_ms() -> int:
    """Wall time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass
class _Contents:
    """What a journal's lines add up to."""

    run_id: str = ""
    created: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    places: dict[int, tuple[int, int]] = field(default_factory=dict)  # epoch: (offset, length)
    metrics: dict[str, None] = field(default_factory=dict)  # an ordered set
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    resumes: list[int] = field(default_factory=list)  # the epoch of each
    damaged_lines: list[int] = field(default_factory=list)
    size: int = 0  # bytes up to the end of the last whole line

    def add(self, entry: Mapping[str, Any], offset: int, length: int) -> None:
        match entry["type"]:
            case "run":
                if entry["format"] > FORMAT:
                    raise JournalError(
                        f"the journal has format {entry['format']}, this version of Delve reads "
                        f"up to {FORMAT}; use the newer version that wrote it"
                    )
                self.run_id, self.created = entry["run_id"], entry["created"]
                self.config, self.layers = entry["config"], tuple(entry["layers"])
            case "epoch":
                _check_epoch(entry)
                self.places[entry["epoch"]] = (offset, length)
                self.metrics.update(dict.fromkeys(entry["scalars"]))
                self.metrics.update(dict.fromkeys(entry["metrics"]))
                self.layers = tuple(entry.get("layers", self.layers))
            case "config":
                self.config = entry["config"]
            case "resume":
                self.resumes.append(entry["epoch"])
                self.places = {e: p for e, p in self.places.items() if e < entry["epoch"]}
            case "state":
                self.states[entry["writer"]] = entry["state"]


class Journal:
    """One run's journal, open for appending.

    Made by :meth:`create` or :meth:`resume`. A disk that refuses a line does not stop the
    training: the line is kept in memory and tried again with the next one.
    """

    def __init__(self, path: Path, contents: _Contents) -> None:
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
        journal = cls(path, _Contents())
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
            contents = _read(path)
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
        if config and json.loads(_to_json(config)) != journal.config:
            journal._append({"type": "config", "config": dict(config)})
        return journal

    @classmethod
    def reopen(cls, folder: Path) -> Journal:
        """The folder's journal as it is, to feed writers from and keep their states in."""
        path = folder / FILE_NAME
        contents = _read(path)
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
        return _decode_epoch(line)

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
        line = _with_checksum(_to_json(entry))
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
            written = os.write(self._file, self._pending)
            if written < len(self._pending):
                raise OSError(f"only {written} of {len(self._pending)} bytes were written")
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


@dataclass(frozen=True)
class RecordedRun:
    """A run as its journal tells it.

    Attributes:
        folder: The run's folder.
        run_id: The run's own identity.
        created: When it began, in milliseconds since 1970.
        config: The hyperparameters that were given last.
        layers: The layers in forward order, as last recorded.
        resumes: The epochs at which it was resumed.
        metrics: Every metric that was ever recorded, in first-seen order.
        records: Its epochs, in rising order.
    """

    folder: Path
    run_id: str
    created: int
    config: Mapping[str, Any]
    layers: tuple[str, ...]
    resumes: tuple[int, ...]
    metrics: tuple[str, ...]
    records: tuple[EpochRecord, ...]

    @property
    def epochs(self) -> list[int]:
        """The recorded epochs, in rising order."""
        return [record.epoch for record in self.records]


def read_run(folder: Path) -> RecordedRun:
    """Read a run's journal, also one that is being written; no file is changed or locked.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        what = "holds no journal" if folder.is_dir() else "is not a folder"
        raise JournalError(f"{folder} {what}, so it is no run of Delve; name a run's folder")
    try:
        contents = _read(path)
        with path.open("rb") as file:
            records = [
                _decode_epoch(os.pread(file.fileno(), length, offset))
                for _, (offset, length) in sorted(contents.places.items())
            ]
    except OSError as error:
        raise JournalError(f"{path} cannot be read ({error.strerror})") from error
    return RecordedRun(
        folder=folder,
        run_id=contents.run_id,
        created=contents.created,
        config=contents.config,
        layers=contents.layers,
        resumes=tuple(contents.resumes),
        metrics=tuple(contents.metrics),
        records=tuple(records),
    )


def read_epochs(folder: Path) -> list[int] | None:
    """The epochs that the folder's journal holds, in rising order; None where there is none.

    A run that was killed before its first line was whole has recorded none.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    with path.open("rb") as file:
        has_begun = file.readline().endswith(b"\n")
    return sorted(_read(path).places) if has_begun else []


def _read(path: Path) -> _Contents:
    contents = _Contents()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break  # torn by a crash
            try:
                entry, is_whole = json.loads(line), _is_whole(line)
                if not is_whole and entry["type"] != "run":  # without a header nothing is read
                    raise ValueError("changed since it was written")
                contents.add(entry, contents.size, len(line))
                if not is_whole:
                    contents.damaged_lines.append(number)
            except (ValueError, KeyError, TypeError, AttributeError):
                contents.damaged_lines.append(number)
            contents.size += len(line)
    if not contents.run_id:
        raise JournalError(
            f"{path} has no readable header, so it is not the journal of a run; move it away, or "
            "start anew with initial_epoch=0, which keeps it under another name"
        )
    return contents


def _decode_epoch(line: bytes) -> EpochRecord:
    entry = json.loads(line)
    return EpochRecord(
        epoch=entry["epoch"],
        timestamp=entry["time"],
        scalars={name: _number(value) for name, value in entry["scalars"].items()},
        metrics=dict(_layer_metrics(entry["metrics"])),
    )


def _check_epoch(entry: Mapping[str, Any]) -> None:
    """Raise ValueError for an epoch's line that :meth:`Journal.read` could not use."""
    values = (*entry["scalars"].values(), *entry["metrics"].values())
    numbers = all(isinstance(value, (int, float)) or value in _NON_FINITE for value in values)
    if not numbers or not isinstance(entry["epoch"], int) or not isinstance(entry["time"], int):
        raise ValueError("not the line of an epoch")


def _next_free_name(folder: Path) -> Path:
    number = 1
    while (path := folder / f"journal.{number}.jsonl").exists():
        number += 1
    return path


def _to_json(entry: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(entry, allow_nan=False, default=_plain)
    except ValueError:  # something is not finite, which is rare: only then look at each value
        text = json.dumps(_finite(entry), allow_nan=False, default=_plain)
    return text.encode()


def _with_checksum(content: bytes) -> bytes:
    """The line of a JSON object, with the checksum of the object as its last field."""
    return content[:-1] + _CHECKSUM % zlib.crc32(content)


def _is_whole(line: bytes) -> bool:
    """Whether a line is as it was written; one without a checksum cannot tell."""
    content, mark, _ = line.rpartition(_CHECKSUM_MARK)
    return not mark or line == _with_checksum(content + b"}")


def _plain(value: Any) -> Any:
    """A stand-in for a hyperparameter that JSON cannot hold: its number, else its text."""
    item = getattr(value, "item", None)
    return _finite(item()) if item is not None and getattr(value, "size", 0) == 1 else str(value)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case Mapping():
            return {str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


def _number(value: float | str) -> float:
    return _NON_FINITE[value] if isinstance(value, str) else float(value)


def _layer_metrics(entries: Mapping[str, float | str]) -> Iterator[tuple[Metric, float]]:
    for key, value in entries.items():
        metric = Metric.parse(key)
        if metric is not None:
            yield metric, _number(value)


def enumerate_epochs(numbers: Sequence[int]) -> str:
    """``[0, 1, 2, 5]`` as ``0-2, 5``."""
    parts: list[str] = []
    start = previous = numbers[0]
    for number in [*numbers[1:], None]:
        if number != previous + 1:
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = number  # type: ignore[assignment]
        previous = number  # type: ignore[assignment]
    return ", ".join(parts)
