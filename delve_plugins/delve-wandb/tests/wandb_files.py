"""What W&B stored in a ``run-<id>.wandb`` file, and what ``wandb sync`` makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delve_wandb import framing
from wandb.proto import wandb_internal_pb2

from delve.testing import journal_lines

_Record: Any = vars(wandb_internal_pb2)["Record"]

_NAMES = ("wandb", "WandbWriter")  # the writer's in a journal: by entry point, or by its class


@dataclass
class RunFile:
    """The contents of one file.

    Attributes:
        run_id: The W&B run.
        rewound_to: The step that the run was cut back to when the file was begun, if it was.
        rows: The logged rows by step, without the keys that W&B adds.
        config: The run's configuration.
        step_metrics: For each defined metric the one that its charts show it by.
        summary: What was put into the run's summary by itself.
        exit_code: None where the run was not finished.
    """

    run_id: str = ""
    rewound_to: int | None = None
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    step_metrics: dict[str, str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def read_run_file(path: Path) -> RunFile:
    """Read a file as far as it is whole; a kill leaves the last record torn."""
    contents = RunFile()
    for data in framing.read(path):
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
            case "summary":
                contents.summary |= _values(record.summary.update)
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
    """The W&B run that the W&B writer remembered last."""
    states = [
        entry["state"]
        for entry in journal_lines(folder, damaged=True)
        if entry["type"] == "state" and entry["writer"] in _NAMES
    ]
    return str(states[-1]["run_id"])


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
            twice = rows.keys() & contents.rows.keys()
            assert not twice, f"steps {sorted(twice)} would be uploaded twice"
            rows |= contents.rows
    return rows


def sync(folder: Path) -> None:
    """Have `wandb sync` upload a segment or all in a folder, which needs a process of its own."""
    command = [sys.executable, "-m", "wandb", "sync", "--yes", str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
