"""What the marks beside the values say, once below all of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from delve.cli.choice import SATURATION
from delve.cli.report import LayerTable
from delve.cli.tail import EXPLANATION, SOURCE

TAIL_MARK, FEW_MARK = "~", "!"

# None is above the rank of the covariance, which is below the number of samples; where that is
# below the number of features, the determinant is 0.
_BOUNDED_BY_SAMPLES = (
    SATURATION,
    "intrinsic-dimensionality",
    "covariance-determinant",
    "effective-rank",
    "participation-ratio",
    "stable-rank",
)
_INDENT = "  "


def misled_layers(table: LayerTable, mode: str) -> tuple[str, ...]:
    """The layers whose values are low because they saw fewer samples than they have features."""
    return table.few_samples.get(mode, ()) if table.stat in _BOUNDED_BY_SAMPLES else ()


def notes(names: Sequence[str], runs: Sequence[Sequence[LayerTable]], width: int) -> list[str]:
    """The notes on all tables of each run; none where nothing is marked.

    Args:
        names: What each run is called.
        runs: Its tables, of any statistics.
        width: In characters.
    """
    several = len(names) > 1
    tails = [
        f"{tail[0]} to {tail[-1]} ({len(tail)} layers{f' of {name}' if several else ''})"
        for name, run in zip(names, runs, strict=True)
        if (tail := next((table.tail for table in run if table.tail), ()))
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
        texts.append(
            f"{FEW_MARK} fewer samples than features, so {' and '.join(misled)} "
            f"{'is' if len(misled) == 1 else 'are'} biased low, in: {'; '.join(few)}."
        )
    lines = [line for t in texts for line in textwrap.wrap(t, width, subsequent_indent=_INDENT)]
    return ["", *lines] if lines else []


def _misled(table: LayerTable) -> list[str]:
    """Those of either mode, in forward order."""
    found = {layer for mode in table.cells for layer in misled_layers(table, mode)}
    return [layer for layer in table.layers if layer in found]
