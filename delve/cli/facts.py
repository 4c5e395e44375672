"""What was recorded of runs, as text for a terminal of a given width: a column for each run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from delve.base.printable import printable
from delve.cli.bars import merge_orders
from delve.cli.labels import shorten
from delve.cli.runs import Damage
from delve.cli.scalars import ScalarSummary, has_best, summarise_scalars
from delve.cli.terminal import GAP, after_gap, columns, text
from delve.journal.status import status_of
from delve.journal.stored_run import StoredRun
from delve.numerics.footprint import exact_estimate, in_words
from delve.records import enumerate_epochs

_INDENT = "  "
_LABEL_SHARE = 0.35  # of the width at most, for what stands before the facts

T = TypeVar("T")


class _Row(NamedTuple):
    """One fact of each run.

    Attributes:
        label: What stands before it.
        cells: What is told of each run.
    """

    label: str
    cells: Sequence[RenderableType]


@dataclass(frozen=True)
class _Section:
    """Facts below a title, which may be empty."""

    title: str
    rows: Sequence[_Row]


def names_that_fit(names: Sequence[str], width: int) -> list[str]:
    """The runs' names as short as they have to be above any of their columns."""
    room = (width - int(_LABEL_SHARE * width)) // len(names) - GAP
    return [shorten(name, max(room, 1)) for name in names]


def facts(
    runs: Sequence[StoredRun], names: Sequence[str], damages: Sequence[Damage], width: int
) -> list[RenderableType]:
    """What was recorded: epochs, resumes, configuration and scalars, a column for each run.

    Args:
        runs: The runs.
        names: What they are called.
        damages: What their journals have lost.
        width: In characters.
    """
    scalars = [{s.name: s for s in summarise_scalars(run)} for run in runs]
    sections = [
        _Section("", _general(runs, names, damages)),
        _Section("configuration", _each([flat_config(run.config) for run in runs], _cut)),
        _Section("last (best at epoch)", _each(scalars, _scalar)),
    ]
    labels = [cell_len(row.label) for section in sections for row in section.rows]
    label_width = min(max(labels), int(_LABEL_SHARE * width))
    cell_width = max((width - label_width) // len(runs) - GAP, 1)
    parts: list[RenderableType] = []
    for section in sections:
        if section.title and section.rows:
            parts.append(text(section.title, "bold"))
        parts.append(_table(section.rows, label_width, cell_width))
    return parts


def _general(
    runs: Sequence[StoredRun], names: Sequence[str], damages: Sequence[Damage]
) -> list[_Row]:
    rows = [
        _Row("", [text(name, "bold") for name in names]),
        _Row("begun", [text(_time(run.created)) for run in runs]),
        _Row("status", [text(_status(run)) for run in runs]),
        _Row("epochs", [text(_epochs(run)) for run in runs]),
        _Row("resumed", [text(_resumes(run)) for run in runs]),
        _Row("layers", [text(len(run.layers)) for run in runs]),
    ]
    if all(run.begun is None for run in runs):  # recorded before that was told
        rows = [row for row in rows if row.label != "status"]
    after_epochs = next(n for n, row in enumerate(rows) if row.label == "epochs") + 1
    if any(run.steps for run in runs):
        rows.insert(after_epochs, _Row("steps", [text(_steps(run)) for run in runs]))
    if any(run.features for run in runs):
        rows.append(_Row("memory", [text(_memory(run)) for run in runs]))
    if any(damage.lines for damage in damages):
        rows.insert(after_epochs, _Row("damaged", [*map(_damage, damages)]))
    return rows


def _each(held: Sequence[Mapping[str, T]], told: Callable[[T], RenderableType]) -> list[_Row]:
    """A row for each key that any run has."""
    keys = merge_orders([list(one) for one in held])
    return [
        _Row(printable(f"{_INDENT}{key}"), [told(one[key]) if key in one else "" for one in held])
        for key in keys
    ]


def _table(rows: Sequence[_Row], label_width: int, cell_width: int) -> Table:
    """The rows of a section; those of all sections have columns of the same width."""
    table = columns(label_width, cell_width, len(rows[0].cells) if rows else 0)
    for label, cells in rows:
        table.add_row(Text(shorten(label, label_width)), *map(after_gap, cells))
    return table


def flat_config(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Hyperparameters as texts, nested ones by dotted names."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flat_config(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _scalar(summary: ScalarSummary) -> RenderableType:
    last = f"{summary.last:.4g}"
    if summary.best is None or not has_best(summary.name):
        return text(last)
    kind = "min" if summary.lowest else "max"
    return _LastAndBest(last, f"{kind} {summary.best:.4g} at {summary.best_epoch}")


@dataclass(frozen=True)
class _LastAndBest:
    """The last and the best value, which moves below where there is no room beside."""

    last: str
    best: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        beside = f"{self.last} ({self.best})"
        fits = len(beside) <= options.max_width
        yield text(beside if fits else f"{self.last}\n{self.best}")


def _damage(damage: Damage) -> Text:
    return text(damage, "red") if damage.lines else text("no")


def _time(milliseconds: int) -> str:
    begun = datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
    return begun.strftime("%Y-%m-%d %H:%M")


def _status(run: StoredRun) -> str:
    status = status_of(run)
    return f"{status}, {_time(status.time)}"


def _epochs(run: StoredRun) -> str:
    return f"{len(run.epochs)} ({enumerate_epochs(run.epochs)})" if run.epochs else "none"


def _steps(run: StoredRun) -> str:
    """The training steps of the first and the last row that have one."""
    if not run.steps:
        return "none"
    first, *others = run.steps.values()
    return f"{first} to {others[-1]}" if others else str(first)


def _memory(run: StoredRun) -> str:
    """What its covariances took at most, which is where all layers were gathered exactly."""
    if not run.features:
        return ""
    held, ending = exact_estimate(run.features.values())
    return f"at most {in_words(held)}, {in_words(ending)} more as an epoch ends"


def _resumes(run: StoredRun) -> str:
    return f"at epoch {', '.join(map(str, run.resumes))}" if run.resumes else "never"


def _cut(told: str) -> Text:
    """A value in one line, whose end goes where there is no room."""
    cut = text(told)
    cut.no_wrap, cut.overflow = True, "ellipsis"
    return cut
