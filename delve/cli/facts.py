"""What was recorded of runs, as text for a terminal of a given width: a column for each run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from delve.cli.bars import merge_orders, shorten
from delve.cli.scalars import ScalarSummary, summarise_scalars
from delve.recorded_run import RecordedRun
from delve.records import enumerate_epochs

_GAP = "  "
_INDENT = "  "
_LABEL_SHARE = 0.35  # of the width at most, for what stands before the facts


def run_names(runs: Sequence[RecordedRun]) -> list[str]:
    """A name for each run: its folder's, with as many parents as tell the runs apart."""
    paths = [run.folder.resolve().parts for run in runs]
    depth = 1
    while len({path[-depth:] for path in paths}) < len(set(paths)):
        depth += 1
    return ["/".join(path[-depth:]) for path in paths]


def facts(runs: Sequence[RecordedRun], width: int) -> list[str]:
    """What was recorded: epochs, resumes, configuration and scalars, a column for each run."""
    rows: list[tuple[str, list[str]]] = [
        ("", run_names(runs)),
        ("begun", [_time(run.created) for run in runs]),
        ("epochs", [_epochs(run) for run in runs]),
        ("resumed", [_resumes(run) for run in runs]),
        ("layers", [str(len(run.layers)) for run in runs]),
    ]
    rows += _section("configuration", [_flat(run.config) for run in runs])
    scalars = [{s.name: _scalar(s) for s in summarise_scalars(run)} for run in runs]
    rows += _section("last (best at epoch)", scalars)
    label_width = min(max(len(label) for label, _ in rows), int(_LABEL_SHARE * width))
    cell_width = max((width - label_width) // len(runs) - len(_GAP), 1)
    return [
        _GAP.join(
            [
                shorten(label, label_width).ljust(label_width),
                *(_cut(cell, cell_width).ljust(cell_width) for cell in cells),
            ]
        ).rstrip()
        for label, cells in rows
    ]


def _section(title: str, columns: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    keys = merge_orders([list(column) for column in columns])
    rows = [(f"{_INDENT}{key}", [column.get(key, "") for column in columns]) for key in keys]
    return [(title, [""] * len(columns)), *rows] if rows else []


def _flat(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _scalar(summary: ScalarSummary) -> str:
    if summary.best is None:
        return f"{summary.last:.4g}"
    kind = "min" if summary.lowest else "max"
    return f"{summary.last:.4g} ({kind} {summary.best:.4g} at {summary.best_epoch})"


def _time(milliseconds: int) -> str:
    begun = datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
    return begun.strftime("%Y-%m-%d %H:%M")


def _epochs(run: RecordedRun) -> str:
    return f"{len(run.epochs)} ({enumerate_epochs(run.epochs)})" if run.epochs else "none"


def _resumes(run: RecordedRun) -> str:
    return f"at epoch {', '.join(map(str, run.resumes))}" if run.resumes else "never"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
