"""Saturations at several thresholds as a table: a row for each layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from delve.cli.bars import layer_labels
from delve.records import MODES
from delve.tools import Recomputed

_GAP = "  "


def threshold_table(rows: Iterable[Recomputed], width: int) -> list[str]:
    """Saturation and, in brackets, dimensionality: a column for each threshold and mode.

    Where there is not room for all, thresholds move below the others.

    Args:
        rows: Of one epoch.
        width: In characters.
    """
    cells = {(row.layer, row.threshold, row.mode): row for row in rows}
    layers, thresholds, present = (list(dict.fromkeys(part)) for part in zip(*cells, strict=True))
    modes = [mode for mode in MODES if mode in present]
    digits = max(len(f"{row.intrinsic_dimensionality}") for row in cells.values())
    texts = {key: _cell(row, digits) for key, row in cells.items()}
    size = max(*map(len, texts.values()), *map(len, modes))
    labels = dict(zip(layers, layer_labels(layers, width), strict=True))
    name_width = len(labels[layers[0]])
    beside = max((width - name_width) // (len(modes) * (size + len(_GAP))), 1)
    lines: list[str] = []
    for first in range(0, len(thresholds), beside):
        shown = thresholds[first : first + beside]
        lines += ["", *_headings(shown, modes, size, name_width)]
        for layer in layers:
            row = [texts.get((layer, t, mode), "") for t in shown for mode in modes]
            lines.append(labels[layer] + "".join(f"{_GAP}{cell:>{size}}" for cell in row))
    return [line.rstrip() for line in lines]


def _cell(row: Recomputed, digits: int) -> str:
    dimensionality = f"({row.intrinsic_dimensionality})"
    return f"{row.saturation:.1%} {dimensionality:>{digits + 2}}"


def _headings(
    thresholds: Sequence[float], modes: Sequence[str], size: int, name_width: int
) -> list[str]:
    span = len(modes) * (size + len(_GAP)) - len(_GAP)
    above = "".join(f"{_GAP}{f'at {threshold:g}':^{span}}" for threshold in thresholds)
    below = "".join(f"{_GAP}{mode:>{size}}" for _ in thresholds for mode in modes)
    return [" " * name_width + above, " " * name_width + below]
