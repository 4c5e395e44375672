"""What the marks beside the values say, once below all of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from delve.base.printable import printable
from delve.cli.report import LayerTable
from delve.cli.tail import EXPLANATION, SOURCE, stretches
from delve.stats.registry import find_stat

TAIL_MARK, FEW_MARK = "~", "!"

_INDENT = "  "


def misled_layers(table: LayerTable, mode: str) -> tuple[str, ...]:
    """The layers whose values are low because they saw fewer samples than they have features."""
    few = table.few_samples.get(mode, ())
    if not few:  # nor is it looked up what the statistic is
        return ()
    stat = find_stat(table.stat)
    return few if stat and stat.is_bounded_by_samples else ()


def notes(names: Sequence[str], runs: Sequence[Sequence[LayerTable]], width: int) -> list[str]:
    """The notes on all tables of each run; none where nothing is marked.

    Args:
        names: What each run is called.
        runs: Its tables, of any statistics.
        width: In characters.
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
    texts = []
    if tails:
        texts.append(
            f"{TAIL_MARK} tail: the saturation of {', '.join(tails)} is below half of the "
            f"median of the layers before; {EXPLANATION}. Source: {SOURCE}."
        )
    if few:
        texts.append(_few_samples(list(misled), "; ".join(few)))
    lines = [line for text in texts for line in _wrapped(text, width)]
    return ["", *lines] if lines else []


def few_samples_note(stats: Sequence[str], layers: Sequence[str], width: int) -> list[str]:
    """The note on layers that saw fewer samples than they have features; none for no layers."""
    return ["", *_wrapped(_few_samples(stats, ", ".join(layers)), width)] if layers else []


def _few_samples(stats: Sequence[str], where: str) -> str:
    return (
        f"{FEW_MARK} fewer samples than features, so {' and '.join(stats)} "
        f"{'is' if len(stats) == 1 else 'are'} biased low, in: {where}."
    )


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(printable(text), width, subsequent_indent=_INDENT)


def _tail(table: LayerTable) -> str:
    """Its layers from first to last, without those between them that have no finite value."""
    parts = stretches(table.layers, table.tail)
    return " and ".join(f"{p[0]} to {p[-1]}" if len(p) > 1 else p[0] for p in parts)


def _misled(table: LayerTable) -> list[str]:
    """Those of either mode, in forward order."""
    found = {layer for mode in table.cells for layer in misled_layers(table, mode)}
    return [layer for layer in table.layers if layer in found]
