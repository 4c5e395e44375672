"""A statistic of every layer as bars, for a terminal of a given width."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from delve.base.printable import printable
from delve.cli.choice import SATURATION
from delve.cli.labels import layer_labels, shorten
from delve.cli.notes import FEW_MARK, TAIL_MARK, misled_layers
from delve.cli.report import Cell, LayerTable
from delve.records import MODES
from delve.stats.registry import key_of

_GAP = "  "
_LONG = 1e7  # from here on whole numbers are rounded too
_SHORTEST_BAR, _LONGEST_BAR = 4, 50  # characters


def layer_bars(names: Sequence[str], runs: Sequence[Sequence[LayerTable]], width: int) -> list[str]:
    """One statistic of every layer, a column for each run and mode; eigenvalues have one each.

    Where there is not room for all, the changes go first, then the bars, and then columns move
    below the others. Eigenvalues have numbers alone.

    Args:
        names: What each run is called.
        runs: Its tables: one, or one for each eigenvalue.
        width: In characters.
    """
    tables = [table for run in runs for table in run]
    columns = list(_columns(names, runs))
    layers = merge_orders([table.layers for table in tables])
    prefix = _common_prefix(layers)
    rests = [layer.removeprefix(prefix) for layer in layers]
    labels = layer_labels(rests, width)
    sizes, beside = _fit(columns, width - len(labels[0]))
    scale = _full_scale(columns)
    lines = textwrap.wrap(printable(_title(tables, prefix, has_changes=sizes.change > 0)), width)
    for first in range(0, len(columns), beside):
        lines += ["", *_draw(columns[first : first + beside], sizes, scale, layers, labels)]
    return lines


def merge_orders(orders: Iterable[Sequence[str]]) -> list[str]:
    """One order that holds all names; a name that is new goes behind the one before it."""
    merged: list[str] = []
    for order in orders:
        known = set(merged)
        place = 0 if known.intersection(order) else len(merged)
        for name in order:
            if name in known:
                place = merged.index(name) + 1
            else:
                merged.insert(place, name)
                place += 1
    return merged


@dataclass(frozen=True)
class _Column:
    """The values of one run, mode and statistic.

    Attributes:
        headings: What stands above them: run, epoch, mode, place of an eigenvalue. Each is empty
            where all columns share it.
        table: The run's table.
        cells: The table's values of the mode, by layer.
    """

    headings: tuple[str, str, str, str]
    table: LayerTable
    cells: Mapping[str, Cell]

    @property
    def mode(self) -> str:
        return self.headings[2]

    def value(self, layer: str) -> str:
        cell = self.cells.get(layer)
        return "" if cell is None else f"{_value(self.table.stat, cell.value)}{self._mark(layer)}"

    def change(self, layer: str) -> str:
        cell = self.cells.get(layer)
        if cell is None or self.table.is_first:
            return ""
        return _change(self.table.stat, cell.change)

    def _mark(self, layer: str) -> str:
        marks = ((TAIL_MARK, self.table.tail), (FEW_MARK, misled_layers(self.table, self.mode)))
        return "".join(mark if layer in marked else " " for mark, marked in marks if marked)


def _columns(names: Sequence[str], runs: Sequence[Sequence[LayerTable]]) -> Iterator[_Column]:
    one_epoch = len({table.epoch for run in runs for table in run}) == 1
    for name, run in zip(names, runs, strict=True):
        for mode, table in itertools.product(MODES, run):
            if mode in table.cells:
                headings = (
                    name if len(runs) > 1 else "",
                    "" if one_epoch else f"epoch {table.epoch}",
                    mode,
                    table.stat.removeprefix(f"{key_of(table.stat)}-") if len(run) > 1 else "",
                )
                yield _Column(headings, table, table.cells[mode])


@dataclass(frozen=True)
class _Sizes:
    """The parts of a column, in characters; 0 for a part that is left out."""

    bar: int
    value: int
    change: int

    @property
    def column(self) -> int:
        return self.value + self.change + (self.bar + 1 if self.bar else 0)


def _fit(columns: Sequence[_Column], width: int) -> tuple[_Sizes, int]:
    """The sizes of all columns, and how many stand beside each other."""
    value = max((len(c.value(layer)) for c in columns for layer in c.cells), default=0)
    change = max((len(c.change(layer)) for c in columns for layer in c.cells), default=0)
    change += 1 if change else 0
    beside = _beside(columns, max(width // (value + len(_GAP)), 1))
    room = width // beside - len(_GAP)
    if any(column.headings[-1] for column in columns):
        return _Sizes(0, value, 0), beside
    if room < value + change + 1 + _SHORTEST_BAR:
        change = 0
    bar = min(room - value - change - 1, _LONGEST_BAR)
    return _Sizes(bar if bar >= _SHORTEST_BAR else 0, value, change), beside


def _beside(columns: Sequence[_Column], most: int) -> int:
    """How many columns stand beside each other; those of a run, or of a mode, stay together."""
    if most >= len(columns):
        return len(columns)
    for parts in (2, 3):  # of the headings: run and epoch; these and the mode
        together = Counter(column.headings[:parts] for column in columns).most_common(1)[0][1]
        if together <= most:
            return most - most % together
    return most


def _draw(
    columns: Sequence[_Column],
    sizes: _Sizes,
    full_scale: float,
    layers: Sequence[str],
    labels: Sequence[str],
) -> list[str]:
    def cell(column: _Column, layer: str) -> str:
        text = column.value(layer).rjust(sizes.value)
        if sizes.change:
            text += column.change(layer).rjust(sizes.change)
        if sizes.bar:
            text = f"{_bar(column.cells.get(layer), full_scale, sizes.bar)} {text}"
        return f"{_GAP}{text}"

    *above, places = zip(*(column.headings for column in columns), strict=True)
    headings = [_heading(texts, sizes.column) for texts in above]
    headings.append("".join(f"{_GAP}{place:>{sizes.column}}" for place in places))
    lines = [" " * len(labels[0]) + heading for heading in headings if heading.strip()]
    lines += [
        label + "".join(cell(column, layer) for column in columns)
        for layer, label in zip(layers, labels, strict=True)
    ]
    return [line.rstrip() for line in lines]


def _heading(texts: Sequence[str], size: int) -> str:
    """A text above its columns of this size, and once above all neighbours that share it."""
    heading = ""
    for text, same in itertools.groupby(texts):
        span = len(list(same)) * (len(_GAP) + size) - len(_GAP)
        heading += f"{_GAP}{shorten(text, span).ljust(span)}"
    return heading


def _full_scale(columns: Sequence[_Column]) -> float:
    """The value of a full bar."""
    if all(column.table.stat == SATURATION for column in columns):
        return 1.0
    values = [abs(cell.value) for column in columns for cell in column.cells.values()]
    return max(filter(math.isfinite, values), default=0.0) or 1.0


def _bar(cell: Cell | None, full_scale: float, width: int) -> str:
    if cell is None or not math.isfinite(cell.value):
        return " " * width
    full = round(min(max(cell.value / full_scale, 0.0), 1.0) * width)
    return "█" * full + "░" * (width - full)


def _value(stat: str, value: float) -> str:
    if stat == SATURATION and math.isfinite(value):
        return f"{value:.1%}"
    return f"{value:.0f}" if value.is_integer() and abs(value) < _LONG else f"{value:.4g}"


def _change(stat: str, change: float) -> str:
    if not math.isfinite(change):
        return ""
    return f"{100 * change:+.1f}" if stat == SATURATION else f"{change:+.3g}"


def _title(tables: Sequence[LayerTable], prefix: str, has_changes: bool) -> str:
    stats = list(dict.fromkeys(table.stat for table in tables))
    what = (
        stats[0] if len(stats) == 1 else f"{key_of(stats[0])}, the {len(stats)} largest eigenvalues"
    )
    inside = f" in {prefix.rstrip('.')}" if prefix else ""
    epochs = {table.epoch for table in tables}
    at = f"epoch {tables[0].epoch}" if len(epochs) == 1 else "each run's last epoch"
    unit = " in points" if stats[0] == SATURATION else ""
    change = f" (and its change since the first epoch{unit})" if has_changes else ""
    return f"{what}{inside} at {at}{change}"


def _common_prefix(names: Sequence[str]) -> str:
    """The modules that all layers lie in, with the last dot."""
    shared: list[str] = []
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(f"{part}." for part in shared) if len(names) > 1 else ""
