"""Saturations at several thresholds as a table: a row for each layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from delve.cli.labels import layer_labels
from delve.cli.notes import FEW_MARK, few_samples_note
from delve.records import MODES
from delve.tools import Recomputed

_GAP = "  "
_STATS = ("saturation", "intrinsic dimensionality")


def threshold_table(
    rows: Iterable[Recomputed],
    width: int,
    few_samples: Mapping[str, Collection[str]] | None = None,
) -> list[str]:
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
    misled = dict.fromkeys(layer for layer, _, mode in cells if layer in few.get(mode, ()))
    finite = [row for row in cells.values() if math.isfinite(row.saturation)]
    digits = max((len(f"{row.intrinsic_dimensionality}") for row in finite), default=0)
    texts = {key: _cell(row, digits) for key, row in cells.items()}
    if misled:
        texts = {
            k: f"{t}{FEW_MARK if k[0] in few.get(k[2], ()) else ' '}" for k, t in texts.items()
        }
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
    lines += few_samples_note(_STATS, list(misled), width)
    return [line.rstrip() for line in lines]


def _cell(row: Recomputed, digits: int) -> str:
    if not math.isfinite(row.saturation):
        return f"{row.saturation}"
    dimensionality = f"({row.intrinsic_dimensionality})"
    return f"{row.saturation:.1%} {dimensionality:>{digits + 2}}"


def _headings(
    thresholds: Sequence[float], modes: Sequence[str], size: int, name_width: int
) -> list[str]:
    span = len(modes) * (size + len(_GAP)) - len(_GAP)
    above = "".join(f"{_GAP}{f'at {threshold:g}':^{span}}" for threshold in thresholds)
    below = "".join(f"{_GAP}{mode:>{size}}" for _ in thresholds for mode in modes)
    return [" " * name_width + above, " " * name_width + below]
