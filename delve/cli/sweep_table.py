"""The rows of many runs as a table for a terminal, as CSV, and for programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from delve.base.printable import printable
from delve.cli.labels import run_labels, shorten
from delve.cli.scalars import has_best
from delve.cli.sweep import RunRow, differing
from delve.cli.terminal import GAP
from delve.stats.registry import find_stat, long_name_of

_WIDEST = 16  # characters of a column
_STYLES = {"running": "cyan", "failed": "red", "killed": "red"}


@dataclass(frozen=True)
class Column:
    """One thing that is told of each run.

    Attributes:
        key: What it is called in full.
        heading: What stands above it.
        rank: What is left out first where there is not room for all: the highest.
        exact: The value as it is, of a run.
        told: The same for people.
        is_stat: Whether it is a statistic of layers.
    """

    key: str
    heading: str
    rank: int
    exact: Callable[[RunRow], Any]
    told: Callable[[RunRow], str]
    is_stat: bool = False


def columns_of(rows: Sequence[RunRow]) -> list[Column]:
    """What is told of these runs, but for their names: status, what differs, scalars, statistic."""
    found = [
        Column("status", "status", 1, lambda r: str(r.status), lambda r: r.status.state),
        Column("epochs", "epochs", 4, _epochs, lambda r: str(_epochs(r))),
        Column("when", "when", 7, lambda r: _time(r, "%Y-%m-%dT%H:%M:%S%z"), _when),
    ]
    found += [_of_config(key) for key in differing([row.config for row in rows])]
    for name in dict.fromkeys(name for row in rows for name in row.scalars):
        found += _of_scalar(name)
    for key in dict.fromkeys(key for row in rows for key in row.stats):
        found.append(_of_stat(key))
    return found


def _of_config(key: str) -> Column:
    def value(row: RunRow) -> str:
        return row.config.get(key, "")

    def told(row: RunRow) -> str:
        """A number in short: 0.1 + 0.2 has seventeen digits."""
        exact = value(row)
        try:
            short = f"{float(exact):.4g}"
        except ValueError:
            return exact
        return min(exact, short, key=len)

    return Column(key, key.rpartition(".")[2], 0, value, told)


def _of_scalar(name: str) -> Iterator[Column]:
    def last(row: RunRow) -> float | None:
        return row.scalars[name].last if name in row.scalars else None

    def best(row: RunRow) -> float | None:
        return row.scalars[name].best if name in row.scalars else None

    yield Column(name, name, 5 if has_best(name) else 6, last, lambda row: _number(last(row)))
    if has_best(name):
        yield Column(f"best {name}", f"best {name}", 2, best, lambda row: _number(best(row)))


def _of_stat(key: str) -> Column:
    stat = find_stat(long_name_of(key.split()[0]))
    is_share = stat is not None and stat.is_share

    def value(row: RunRow) -> float | None:
        return row.stats.get(key)

    def told(row: RunRow) -> str:
        held = value(row)
        if held is None or not is_share or not math.isfinite(held):
            return _number(held)
        return f"{held:.1%}"

    return Column(key, key.removesuffix(" mean"), 1, value, told, is_stat=True)


def _epochs(row: RunRow) -> int:
    return len(row.run.epochs)


def _when(row: RunRow) -> str:
    return _time(row, "%m-%d %H:%M")


def _time(row: RunRow, form: str) -> str:
    return datetime.fromtimestamp(row.status.time / 1000, UTC).astimezone().strftime(form)


def _line(told: object, style: str = "") -> Text:
    """Text in one line, of which the terminal obeys nothing."""
    return Text(printable(told), style)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


# For a terminal


def table(rows: Sequence[RunRow], width: int, sort: str | None = None) -> list[RenderableType]:
    """A row for each run, with as many columns as there is room for; it is said what is missing.

    Args:
        rows: The runs in their order.
        width: In characters.
        sort: What they are sorted by, which is shown before anything else.
    """
    columns, of_layers = _named_by_layers(_first(columns_of(rows), sort))
    beginning, labels = run_labels([row.name for row in rows], width)
    sizes = {column.key: _size(column, rows) for column in columns}
    room = width - max(map(cell_len, [*labels, "run"]))
    shown, left_out = _fit(columns, sizes, room)
    drawn = Table.grid(padding=(0, 0, 0, GAP))
    drawn.add_column(no_wrap=True)
    for column in shown:
        drawn.add_column(no_wrap=True, justify="left" if column.key == "status" else "right")
    heads = [shorten(column.heading, sizes[column.key]) for column in shown]
    drawn.add_row(_line("run", "bold"), *(_line(head, "bold") for head in heads))
    for label, row in zip(labels, rows, strict=True):
        drawn.add_row(_line(label), *(_cell(column, row, sizes[column.key]) for column in shown))
    parts: list[RenderableType] = [drawn]
    if of_layers:
        parts += ["", _line(f"the columns of layers show {of_layers}")]
    if beginning:
        parts += ["", _line(f"all names begin with {beginning}")]
    if left_out:
        missing = ", ".join(column.key for column in left_out)
        parts += ["", _line(f"no room for: {missing}; a wider terminal or --csv shows them")]
    return parts


def _first(columns: Sequence[Column], sort: str | None) -> list[Column]:
    """The columns, of which the one that the runs are sorted by is left out last."""
    name = (sort or "").removeprefix("-")
    keys = {column.key for column in columns}
    wanted = next((key for key in (f"best {name}", name) if key in keys), None)
    return [replace(c, rank=0) if c.key == wanted else c for c in columns]


def _named_by_layers(columns: Sequence[Column]) -> tuple[list[Column], str]:
    """Several columns of one statistic are headed by the layers alone; the statistic, once."""
    parted = {column.key: column.key.split(" ", 2) for column in columns if column.is_stat}
    shared = {" ".join(parts[:2]) for parts in parted.values()}
    if len(parted) < 2 or len(shared) > 1:
        return list(columns), ""
    short = [
        replace(column, heading=parted[column.key][-1]) if column.is_stat else column
        for column in columns
    ]
    return short, shared.pop()


def _size(column: Column, rows: Sequence[RunRow]) -> int:
    widest = max(cell_len(_line(column.told(row)).plain) for row in rows)
    return min(max(widest, min(cell_len(column.heading), _WIDEST)), _WIDEST)


def _fit(
    columns: Sequence[Column], sizes: dict[str, int], room: int
) -> tuple[list[Column], list[Column]]:
    shown = list(columns)
    while shown and sum(sizes[column.key] + GAP for column in shown) > room:
        worst = max(column.rank for column in shown)
        shown.remove([column for column in shown if column.rank == worst][-1])
    return shown, [column for column in columns if column not in shown]


def _cell(column: Column, row: RunRow, size: int) -> Text:
    style = _STYLES.get(row.status.state, "") if column.key == "status" else ""
    return _line(shorten(_line(column.told(row)).plain, size), style)


# For programs


def as_csv(rows: Sequence[RunRow]) -> str:
    """All columns, the runs' names in full first; what is not there is empty."""
    columns = columns_of(rows)
    told = io.StringIO()
    writer = csv.writer(told, lineterminator="\n")
    writer.writerow(["run", *(printable(column.key) for column in columns)])
    for row in rows:
        values = (column.exact(row) for column in columns)
        writer.writerow([printable(row.name), *map(_spelt, values)])
    return told.getvalue()


def _spelt(value: Any) -> Any:
    """A value as all readers of CSV take it."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return "" if value is None else printable(value) if isinstance(value, str) else value
