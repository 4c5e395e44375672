"""What the marks beside the values say, once below all of them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table

from delve.cli.report import LayerTable
from delve.cli.tail import EXPLANATION, SOURCE, stretches
from delve.cli.terminal import text
from delve.stats.registry import find_stat

TAIL_MARK, FEW_MARK, BOUNDS_MARK = "~", "!", "?"
_MARK_STYLE = "yellow"


def misled_layers(table: LayerTable, mode: str) -> tuple[str, ...]:
    """The layers whose values are low because they saw fewer samples than they have features."""
    few = table.few_samples.get(mode, ())
    if not few:  # nor is it looked up what the statistic is
        return ()
    stat = find_stat(table.stat)
    return few if stat and stat.is_bounded_by_samples else ()


def unsure_layers(table: LayerTable, mode: str) -> tuple[str, ...]:
    """The layers of which the exact value is known to lie between two others alone."""
    row = table.cells.get(mode, {})
    return tuple(layer for layer in table.layers if layer in row and row[layer].bounds)


def notes(names: Sequence[str], runs: Sequence[Sequence[LayerTable]]) -> list[RenderableType]:
    """The notes on all tables of each run, each below an empty line; none where nothing is marked.

    Args:
        names: What each run is called.
        runs: Its tables, of any statistics.
    """
    several = len(names) > 1
    tails = [
        f"{_tail(table)} ({len(table.tail)} layers{f' of {name}' if several else ''})"
        for name, run in zip(names, runs, strict=True)
        if (table := next((table for table in run if table.tail), None))
    ]
    few = [
        f"{', '.join(layers)}{f' ({name})' if several else ''}"
        for name, run in zip(names, runs, strict=True)
        if (layers := dict.fromkeys(layer for table in run for layer in _misled(table)))
    ]
    misled = {t.stat.replace("-", " "): None for run in runs for t in run if _misled(t)}
    told = []
    if tails:
        told.append(
            (
                TAIL_MARK,
                f"tail: the saturation of {', '.join(tails)} is below half of the median of the "
                f"layers before; {EXPLANATION}. Source: {SOURCE}.",
            )
        )
    if few:
        told.append((FEW_MARK, _few_samples(list(misled), "; ".join(few))))
    unsure = [
        f"{_unsure(table)}{f' of {name}' if several else ''}"
        for name, run in zip(names, runs, strict=True)
        for table in run
        if any(unsure_layers(table, mode) for mode in table.cells)
    ]
    if unsure:
        told.append(
            (
                BOUNDS_MARK,
                "gathered by sketch, so the middle is shown of what the exact value lies between: "
                f"{'; '.join(unsure)}.",
            )
        )
    return _below(told)


def _unsure(table: LayerTable) -> str:
    """Each layer with its bounds."""
    return ", ".join(
        f"{layer} ({mode}) {_number(table.stat, low)} to {_number(table.stat, high)}"
        for mode, row in table.cells.items()
        for layer in unsure_layers(table, mode)
        for low, high in [row[layer].bounds or (0.0, 0.0)]
    )


def _number(name: str, value: float) -> str:
    stat = find_stat(name)
    return f"{value:.1%}" if stat and stat.is_share else f"{value:.6g}"


def few_samples_note(stats: Sequence[str], layers: Sequence[str]) -> list[RenderableType]:
    """The note on layers that saw fewer samples than they have features; none for no layers."""
    return _below([(FEW_MARK, _few_samples(stats, ", ".join(layers)))] if layers else [])


def _few_samples(stats: Sequence[str], where: str) -> str:
    return (
        f"fewer samples than features, so {' and '.join(stats)} "
        f"{'is' if len(stats) == 1 else 'are'} biased low, in: {where}."
    )


def _below(told: Sequence[tuple[str, str]]) -> list[RenderableType]:
    """Each mark before what it says."""
    if not told:
        return []
    table = Table.grid(padding=(0, 1, 0, 0))
    for mark, said in told:
        table.add_row(text(mark, _MARK_STYLE), text(said))
    return ["", table]


def _tail(table: LayerTable) -> str:
    """Its layers from first to last, without those between them that have no finite value."""
    parts = stretches(table.layers, table.tail)
    return " and ".join(f"{p[0]} to {p[-1]}" if len(p) > 1 else p[0] for p in parts)


def _misled(table: LayerTable) -> list[str]:
    """Those of either mode, in forward order."""
    found = {layer for mode in table.cells for layer in misled_layers(table, mode)}
    return [layer for layer in table.layers if layer in found]
