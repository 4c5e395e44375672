"""A statistic of every layer as bars, for a terminal of a given width."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from delve.cli.report import SATURATION, Cell, LayerTable
from delve.cli.tail import EXPLANATION, SOURCE

TAIL_MARK, FEW_MARK = "~", "!"

_GAP = "  "
_INDENT = "  "
_LONG = 1e7  # from here on whole numbers are rounded too
_SHORTEST_BAR, _LONGEST_BAR = 4, 50  # characters
_ROOM_FOR_HEAD = 20  # characters: a shorter name keeps its end alone
_NAME_SHARE = 0.3  # of the width at most, for names of layers


def layer_bars(names: Sequence[str], tables: Sequence[LayerTable], width: int) -> list[str]:
    """One statistic of every layer, a column for each run and mode.

    Where there is not room for all, the changes go first, then the bars, and then columns move
    below the others.
    """
    columns = [
        _Column(name if len(names) > 1 else "", mode, table, table.cells[mode])
        for name, table in zip(names, tables, strict=True)
        for mode in table.cells
    ]
    layers = merge_orders([table.layers for table in tables])
    prefix = _common_prefix(layers)
    rests = [layer.removeprefix(prefix) for layer in layers]
    name_width = min(max(map(len, rests), default=0), int(_NAME_SHARE * width))
    labels = [shorten(rest, name_width).ljust(name_width) for rest in rests]
    sizes, beside = _fit(columns, width - name_width)
    lines = textwrap.wrap(_title(tables, prefix, has_changes=sizes.change > 0), width)
    for first in range(0, len(columns), beside):
        lines += ["", *_draw(columns[first : first + beside], sizes, layers, labels)]
    return lines


def notes(names: Sequence[str], tables: Sequence[LayerTable], width: int) -> list[str]:
    """What the marks beside the values say."""
    lines: list[str] = []
    for name, table in zip(names, tables, strict=True):
        of = f" of {name}" if len(names) > 1 else ""
        if table.tail:
            text = (
                f"{TAIL_MARK} tail{of}: the saturation of {table.tail[0]} to {table.tail[-1]} "
                f"({len(table.tail)} layers) is below half of the median of those before; "
                f"{EXPLANATION}. Source: {SOURCE}."
            )
            lines += textwrap.wrap(text, width, subsequent_indent=_INDENT)
        if table.few_samples:
            text = (
                f"{FEW_MARK} fewer samples than features{of}, so saturation is biased low, in: "
                f"{', '.join(table.few_samples)}."
            )
            lines += textwrap.wrap(text, width, subsequent_indent=_INDENT)
    return ["", *lines] if lines else []


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


def shorten(text: str, width: int) -> str:
    """A name of at most so many characters; its end tells more than its beginning."""
    if len(text) <= width:
        return text
    head = width // 4 if width >= _ROOM_FOR_HEAD else 0
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


@dataclass(frozen=True)
class _Column:
    run: str
    mode: str
    table: LayerTable
    cells: Mapping[str, Cell]

    def value(self, layer: str) -> str:
        cell = self.cells.get(layer)
        return "" if cell is None else f"{_value(self.table.stat, cell.value)}{self._mark(layer)}"

    def change(self, layer: str) -> str:
        cell = self.cells.get(layer)
        return "" if cell is None else _change(self.table.stat, cell.change)

    def _mark(self, layer: str) -> str:
        marks = ((TAIL_MARK, self.table.tail), (FEW_MARK, self.table.few_samples))
        return "".join(mark if layer in marked else " " for mark, marked in marks if marked)


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
    change = max((len(c.change(layer)) for c in columns for layer in c.cells), default=0) + 1
    beside = min(max(width // (value + len(_GAP)), 1), len(columns))
    room = width // beside - len(_GAP)
    if room < value + change + 1 + _SHORTEST_BAR:
        change = 0
    bar = min(room - value - change - 1, _LONGEST_BAR)
    return _Sizes(bar if bar >= _SHORTEST_BAR else 0, value, change), beside


def _draw(
    columns: Sequence[_Column], sizes: _Sizes, layers: Sequence[str], labels: Sequence[str]
) -> list[str]:
    full_scale = _full_scale(columns)

    def cell(column: _Column, layer: str) -> str:
        text = column.value(layer).rjust(sizes.value)
        if sizes.change:
            text += column.change(layer).rjust(sizes.change)
        if sizes.bar:
            text = f"{_bar(column.cells.get(layer), full_scale, sizes.bar)} {text}"
        return f"{_GAP}{text}"

    headings = [_heading([getattr(c, of) for c in columns], sizes.column) for of in ("run", "mode")]
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
    epochs = list(dict.fromkeys(str(table.epoch) for table in tables))
    inside = f" in {prefix.rstrip('.')}" if prefix else ""
    at = f"epochs {', '.join(epochs)}" if len(epochs) > 1 else f"epoch {epochs[0]}"
    unit = " in points" if tables[0].stat == SATURATION else ""
    change = f" (and its change since the first epoch{unit})" if has_changes else ""
    return f"{tables[0].stat}{inside} at {at}{change}"


def _common_prefix(names: Sequence[str]) -> str:
    """The modules that all layers lie in, with the last dot."""
    shared: list[str] = []
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(f"{part}." for part in shared) if len(names) > 1 else ""
