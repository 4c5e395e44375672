"""What was recorded of runs, as text for a terminal of a given width: a column for each run."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from delve.base.printable import printable
from delve.cli.bars import merge_orders
from delve.cli.labels import shorten
from delve.cli.runs import Damage
from delve.cli.scalars import ScalarSummary, summarise_scalars
from delve.journal.stored_run import StoredRun
from delve.records import enumerate_epochs

_GAP = "  "
_INDENT = "  "
_LABEL_SHARE = 0.35  # of the width at most, for what stands before the facts

Fit = Callable[[str, int], list[str]]  # a text in lines of at most so many characters


@dataclass(frozen=True)
class _Row:
    """One fact of each run; a title has none."""

    label: str
    texts: Sequence[str] = ()
    fit: Fit = textwrap.wrap


def names_that_fit(names: Sequence[str], width: int) -> list[str]:
    """The runs' names as short as they have to be above any of their columns."""
    room = (width - int(_LABEL_SHARE * width)) // len(names) - len(_GAP)
    return [shorten(name, max(room, 1)) for name in names]


def facts(
    runs: Sequence[StoredRun], names: Sequence[str], damages: Sequence[Damage], width: int
) -> list[str]:
    """What was recorded: epochs, resumes, configuration and scalars, a column for each run.

    Args:
        runs: The runs.
        names: What they are called.
        damages: What their journals have lost.
        width: In characters.
    """
    rows = [
        _Row("", names),
        _Row("begun", [_time(run.created) for run in runs]),
        _Row("epochs", [_epochs(run) for run in runs]),
        _Row("resumed", [_resumes(run) for run in runs]),
        _Row("layers", [str(len(run.layers)) for run in runs]),
    ]
    if any(damage.lines for damage in damages):
        rows.insert(3, _Row("damaged", [str(damage) or "no" for damage in damages]))
    rows += _section("configuration", [_flat(run.config) for run in runs], _cut)
    scalars = [{s.name: _scalar(s) for s in summarise_scalars(run)} for run in runs]
    rows += _section("last (best at epoch)", scalars, _best_below)
    rows = [_Row(printable(r.label), [*map(printable, r.texts)], r.fit) for r in rows]
    label_width = min(max(len(row.label) for row in rows if row.texts), int(_LABEL_SHARE * width))
    cell_width = max((width - label_width) // len(runs) - len(_GAP), 1)
    return [line for row in rows for line in _lines(row, label_width, cell_width)]


def _lines(row: _Row, label_width: int, cell_width: int) -> list[str]:
    if not row.texts:
        return [row.label]
    cells = [row.fit(text, cell_width) for text in row.texts]
    height = max(1, *map(len, cells))
    label = shorten(row.label, label_width)
    columns = [[label], *cells]
    widths = [label_width, *(cell_width for _ in cells)]
    return [
        _GAP.join(
            (column[line] if line < len(column) else "").ljust(size)
            for column, size in zip(columns, widths, strict=True)
        ).rstrip()
        for line in range(height)
    ]


def _section(title: str, columns: Sequence[Mapping[str, str]], fit: Fit) -> list[_Row]:
    keys = merge_orders([list(column) for column in columns])
    rows = [_Row(f"{_INDENT}{key}", [c.get(key, "") for c in columns], fit) for key in keys]
    return [_Row(title), *rows] if rows else []


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


def _epochs(run: StoredRun) -> str:
    return f"{len(run.epochs)} ({enumerate_epochs(run.epochs)})" if run.epochs else "none"


def _resumes(run: StoredRun) -> str:
    return f"at epoch {', '.join(map(str, run.resumes))}" if run.resumes else "never"


def _cut(text: str, width: int) -> list[str]:
    return [text if len(text) <= width else f"{text[: width - 1]}…"]


def _best_below(text: str, width: int) -> list[str]:
    """The last and the best value, which moves below where there is no room beside."""
    if len(text) <= width:
        return [text]
    last, _, best = text.partition(" ")
    return [*textwrap.wrap(last, width), *textwrap.wrap(best.strip("()"), width)]
