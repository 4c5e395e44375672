"""What W&B stored in a ``run-<id>.wandb`` file.

The file is a log of protobuf records in the framing of LevelDB: blocks of 32 KiB that hold
fragments, each behind a checksum, a length and the part of the record that it is.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_Record: Any = vars(wandb_internal_pb2)["Record"]

_BLOCK = 32 * 1024
_FILE_HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_FRAGMENT_HEADER = struct.Struct("<IHB")  # checksum, length, kind
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass
class RunFile:
    """The contents of one file.

    Attributes:
        run_id: The W&B run.
        rewound_to: The step that the run was cut back to when the file was begun, if it was.
        rows: The logged rows by step, without the keys that W&B adds.
        config: The run's configuration.
        step_metrics: For each defined metric the one that its charts show it by.
        exit_code: None where the run was not finished.
    """

    run_id: str = ""
    rewound_to: int | None = None
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    step_metrics: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None


def read_run_file(path: Path) -> RunFile:
    """Read a file as far as it is whole; a kill leaves the last record torn."""
    contents = RunFile()
    for data in _records(path.read_bytes()):
        record = _Record.FromString(data)
        match record.WhichOneof("record_type"):
            case "run":
                contents.run_id = record.run.run_id
                contents.config |= _values(record.run.config.update)
                if record.run.HasField("branch_point"):
                    contents.rewound_to = int(record.run.branch_point.value)
            case "config":
                contents.config |= _values(record.config.update)
            case "history":
                row = _values(record.history.item)
                shown = {key: value for key, value in row.items() if not key.startswith("_")}
                contents.rows.setdefault(record.history.step.num, {}).update(shown)
            case "metric":
                name = record.metric.name or record.metric.glob_name
                contents.step_metrics[name] = record.metric.step_metric
            case "exit":
                contents.exit_code = record.exit.exit_code
    return contents


def run_files(folder: Path) -> list[Path]:
    """All of them in a run's folder, oldest first."""
    files = [path for path in folder.glob("wandb/*run-*/run-*.wandb") if path.is_file()]
    return sorted(files, key=lambda path: path.parent.name.partition("run-")[2])


def journal_entries(folder: Path) -> list[dict[str, Any]]:
    """The lines of the journal of the run in this folder."""
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def recorded_id(folder: Path) -> str:
    """The W&B run that the journal names last."""
    states = [entry["state"] for entry in journal_entries(folder) if entry["type"] == "state"]
    return str(next(state["run_id"] for state in reversed(states) if "run_id" in state))


def unsynced_rows(folder: Path) -> dict[int, dict[str, Any]]:
    """What ``wandb sync`` would upload of the folder's W&B run: its rows by step."""
    run_id = recorded_id(folder)
    rows: dict[int, dict[str, Any]] = {}
    for file in run_files(folder):
        contents = read_run_file(file)
        if contents.run_id == run_id and not file.with_name(f"{file.name}.synced").exists():
            rewound_to = contents.rewound_to
            if rewound_to is not None:
                rows = {step: row for step, row in rows.items() if step <= rewound_to}
            rows |= contents.rows
    return rows


def _records(data: bytes) -> Iterator[bytes]:
    if data[: len(_FILE_HEADER)] != _FILE_HEADER[: len(data)]:
        raise ValueError("not a file of W&B's")
    record = b""
    for kind, fragment in _fragments(data):
        record = fragment if kind in (_WHOLE, _FIRST) else record + fragment
        if kind in (_WHOLE, _LAST):
            yield record


def _fragments(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = len(_FILE_HEADER)
    while True:
        left_in_block = _BLOCK - at % _BLOCK
        if left_in_block < _FRAGMENT_HEADER.size:  # filled with zeros
            at += left_in_block
            continue
        if at + _FRAGMENT_HEADER.size > len(data):
            return
        checksum, length, kind = _FRAGMENT_HEADER.unpack_from(data, at)
        at += _FRAGMENT_HEADER.size
        fragment = data[at : at + length]
        if not _WHOLE <= kind <= _LAST or len(fragment) < length:
            return
        if zlib.crc32(bytes([kind]) + fragment) != checksum:
            raise ValueError(f"the fragment before byte {at + length} is damaged")
        at += length
        yield kind, fragment


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
