"""Saturations at several thresholds as a table: a row for each layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import RenderableType
from rich.text import Text

from delve.cli.labels import layer_labels
from delve.cli.notes import FEW_MARK, few_samples_note
from delve.cli.terminal import GAP, columns, text
from delve.records import MODES

if TYPE_CHECKING:  # with PyTorch, which most commands do without
    from delve.tools import Recomputed

_STATS = ("saturation", "intrinsic dimensionality")


def threshold_table(
    rows: Iterable[Recomputed],
    width: int,
    few_samples: Mapping[str, Collection[str]] | None = None,
) -> list[RenderableType]:
    """Saturation and, in brackets, dimensionality: a column for each threshold and mode.

    Where there is not room for all, thresholds move below the others. Layers that saw fewer
    samples than they have features are marked, and named below.

    Args:
        rows: Of one epoch.
        width: In characters.
        few_samples: By mode, the layers of the epoch that saw fewer samples than features.
    """
    cells = {(row.layer, row.threshold, row.mode): row for row in rows}
    layers, thresholds, present = (list(dict.fromkeys(part)) for part in zip(*cells, strict=True))
    modes = [mode for mode in MODES if mode in present]
    few = few_samples or {}
    marked = {(layer, mode) for layer, _, mode in cells if layer in few.get(mode, ())}
    texts = _texts(cells, marked)
    headings = {(t, mode): f"at {t:g}\n{mode}" for t in thresholds for mode in modes}
    size = max(
        len(line) for told in (*texts.values(), *headings.values()) for line in told.split("\n")
    )
    labels = layer_labels(layers, width)
    beside = max((width - cell_len(labels[0])) // (len(modes) * (size + GAP)), 1)
    tables: list[RenderableType] = []
    for first in range(0, len(thresholds), beside):
        shown = [(t, mode) for t in thresholds[first : first + beside] for mode in modes]
        table = columns(None, size, len(shown))
        for line in zip(*(headings[one].split("\n") for one in shown), strict=True):
            table.add_row("", *(_right(told, size) for told in line))
        for layer, label in zip(layers, labels, strict=True):
            table.add_row(text(label), *(_right(texts.get((layer, *c), ""), size) for c in shown))
        tables += ["", table]
    return [
        *tables,
        *few_samples_note(
            _STATS, [layer for layer in layers if any((layer, mode) in marked for mode in modes)]
        ),
    ]


def _texts(
    cells: Mapping[tuple[str, float, str], Recomputed], marked: Collection[tuple[str, str]]
) -> dict[tuple[str, float, str], str]:
    """What stands in each cell, in one form; those of the layers and modes named have a mark."""
    finite = [row for row in cells.values() if math.isfinite(row.saturation)]
    digits = max((len(f"{row.intrinsic_dimensionality}") for row in finite), default=0)
    texts = {key: _cell(row, digits) for key, row in cells.items()}
    if not marked:
        return texts
    return {
        (layer, threshold, mode): f"{told}{FEW_MARK if (layer, mode) in marked else ' '}"
        for (layer, threshold, mode), told in texts.items()
    }


def _right(told: str, size: int) -> Text:
    return Text(told.rjust(GAP + size), no_wrap=True)


def _cell(row: Recomputed, digits: int) -> str:
    if not math.isfinite(row.saturation):
        return f"{row.saturation}"
    dimensionality = f"({row.intrinsic_dimensionality})"
    return f"{row.saturation:.1%} {dimensionality:>{digits + 2}}"
