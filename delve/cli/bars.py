"""A statistic of every layer as bars, for a terminal of a given width."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from delve.base.bar import draw_bar
from delve.cli.choice import SATURATION
from delve.cli.labels import layer_labels, shorten
from delve.cli.notes import BOUNDS_MARK, FEW_MARK, TAIL_MARK, misled_layers, unsure_layers
from delve.cli.report import Cell, LayerTable
from delve.cli.terminal import GAP, columns, text
from delve.records import MODES
from delve.stats.registry import find_stat, key_of

_LONG = 1e7  # from here on whole numbers are rounded too
_SHORTEST_BAR, _LONGEST_BAR = 4, 50  # characters
_BAR_STYLE = "cyan"
# While an epoch trains, samples of many states of the weights come together.
_OF_WEIGHTS = "; in training, part of it is the weights' own movement"


def layer_bars(
    names: Sequence[str], runs: Sequence[Sequence[LayerTable]], width: int
) -> list[RenderableType]:
    """One statistic of every layer, a column for each run and mode; eigenvalues have one each.

    Where there is not room for all, the changes go first, then the bars, and then columns move
    below the others. Eigenvalues have numbers alone.

    Args:
        names: What each run is called.
        runs: Its tables: one, or one for each eigenvalue.
        width: In characters.
    """
    tables = [table for run in runs for table in run]
    shown = list(_columns(names, runs))
    layers = merge_orders([table.layers for table in tables])
    prefix = _common_prefix(layers)
    rests = [layer.removeprefix(prefix) for layer in layers]
    labels = layer_labels(rests, width)
    sizes, beside = _fit(shown, width - cell_len(labels[0]))
    scale = _full_scale(shown)
    parts: list[RenderableType] = [text(_title(tables, prefix, has_changes=sizes.change > 0))]
    for first in range(0, len(shown), beside):
        group = shown[first : first + beside]
        parts += ["", *_headings(group, sizes, cell_len(labels[0]))]
        parts.append(_table(group, sizes, scale, layers, labels))
    return parts


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
        if cell is None:
            return ""
        told = f"{_value(self.table.stat, cell.value)}{self._dimensions(layer, cell.value)}"
        return f"{told}{self._mark(layer)}"

    def change(self, layer: str) -> str:
        cell = self.cells.get(layer)
        if cell is None or self.table.is_first:
            return ""
        return _change(self.table.stat, cell.change)

    def _dimensions(self, layer: str, value: float) -> str:
        """How many dimensions of how many features a saturation is, where that is known."""
        features = self.table.features.get(layer)
        if features is None or self.table.stat != SATURATION or not math.isfinite(value):
            return ""
        return f" ({round(value * features)} of {features})"

    def _mark(self, layer: str) -> str:
        marks = (
            (TAIL_MARK, self.table.tail),
            (FEW_MARK, misled_layers(self.table, self.mode)),
            (BOUNDS_MARK, unsure_layers(self.table, self.mode)),
        )
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
    beside = _beside(columns, max(width // (value + GAP), 1))
    room = width // beside - GAP
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


def _headings(group: Sequence[_Column], sizes: _Sizes, label_width: int) -> Iterator[Text]:
    """The headings that any of the columns has, one line below the other."""
    *above, places = zip(*(column.headings for column in group), strict=True)
    lines = [_spanning(texts, sizes.column) for texts in above]
    lines.append("".join(f"{'':{GAP}}{place:>{sizes.column}}" for place in places))
    return (text(" " * label_width + line, "bold") for line in lines if line.strip())


def _spanning(texts: Sequence[str], size: int) -> str:
    """A text above its columns of this size, and once above all neighbours that share it."""
    heading = ""
    for told, same in itertools.groupby(texts):
        span = len(list(same)) * (GAP + size) - GAP
        heading += " " * GAP + set_cell_size(shorten(told, span), span)
    return heading


def _table(
    group: Sequence[_Column],
    sizes: _Sizes,
    full_scale: float,
    layers: Sequence[str],
    labels: Sequence[str],
) -> Table:
    """A row for each layer."""
    table = columns(None, sizes.column, len(group))
    for layer, label in zip(layers, labels, strict=True):
        table.add_row(text(label), *(_cell(column, layer, sizes, full_scale) for column in group))
    return table


def _cell(column: _Column, layer: str, sizes: _Sizes, full_scale: float) -> Text:
    """Bar, value and change, as far as there is room."""
    told = Text(" " * GAP, no_wrap=True)
    if sizes.bar:
        told.append(_bar(column.cells.get(layer), full_scale, sizes.bar), _BAR_STYLE).append(" ")
    told.append(column.value(layer).rjust(sizes.value))
    if sizes.change:
        told.append(column.change(layer).rjust(sizes.change), "dim")
    return told


def _full_scale(columns: Sequence[_Column]) -> float:
    """The value of a full bar."""
    if all(_is_share(column.table.stat) for column in columns):
        return 1.0
    values = [abs(cell.value) for column in columns for cell in column.cells.values()]
    return max(filter(math.isfinite, values), default=0.0) or 1.0


def _bar(cell: Cell | None, full_scale: float, width: int) -> str:
    return draw_bar(math.nan if cell is None else cell.value / full_scale, width)


def _is_share(stat: str) -> bool:
    """Whether a statistic is shown in percent, and its change in points."""
    known = find_stat(stat)
    return known is not None and known.is_share


def _value(stat: str, value: float) -> str:
    if _is_share(stat) and math.isfinite(value):
        return f"{value:.1%}"
    return f"{value:.0f}" if value.is_integer() and abs(value) < _LONG else f"{value:.4g}"


def _change(stat: str, change: float) -> str:
    if not math.isfinite(change):
        return ""
    return f"{100 * change:+.1f}" if _is_share(stat) else f"{change:+.3g}"


def _title(tables: Sequence[LayerTable], prefix: str, has_changes: bool) -> str:
    stats = list(dict.fromkeys(table.stat for table in tables))
    what = (
        stats[0] if len(stats) == 1 else f"{key_of(stats[0])}, the {len(stats)} largest eigenvalues"
    )
    inside = f" in {prefix.rstrip('.')}" if prefix else ""
    epochs = {table.epoch for table in tables}
    at = f"epoch {tables[0].epoch}" if len(epochs) == 1 else "each run's last epoch"
    unit = " in points" if _is_share(stats[0]) else ""
    of_weights = "" if any("eval" in table.cells for table in tables) else _OF_WEIGHTS
    change = f" (and its change since the first epoch{unit}{of_weights})" if has_changes else ""
    return f"{what}{inside} at {at}{change}"


def _common_prefix(names: Sequence[str]) -> str:
    """The modules that all layers lie in, with the last dot."""
    shared: list[str] = []
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(f"{part}." for part in shared) if len(names) > 1 else ""
