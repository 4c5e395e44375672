"""Runs as HTML, for notebooks: of one each layer as bars, notes, files; of several a row each."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from delve.base.printable import printable
from delve.records import MODES, forward_order

_COLOURS = {"train": "#0072B2", "eval": "#E69F00"}  # Okabe and Ito's, told apart by all eyes
_BAR = 160  # pixels
_MOST_RUNS = 100  # in a table
_FILES = ("journal.jsonl", "metrics.csv", "npy", "plots", "tensorboard", "wandb", "earlier")


def run_as_html(
    title: str,
    folder: Path,
    layers: Sequence[str],
    saturations: Mapping[tuple[str, str], float],
    features: Mapping[str, int],
    notes: Sequence[str],
) -> str:
    """A table with a row for each layer and a bar for each mode.

    Args:
        title: What stands above.
        folder: The run's folder.
        layers: The layers in forward order, as far as it is known.
        saturations: By mode and layer.
        features: How many features layers have.
        notes: What is to be known before the numbers are believed.
    """
    modes = [mode for mode in MODES if any(mode == other for other, _ in saturations)]
    rows = [
        _row(layer, [saturations.get((mode, layer)) for mode in modes], modes, features.get(layer))
        for layer in forward_order(layers, [layer for _, layer in saturations])
    ]
    heads = "".join(f'<th style="text-align:left">{mode} saturation</th>' for mode in modes)
    table = f"<table><tr><th></th>{heads}</tr>{''.join(rows)}</table>" if rows else ""
    there = [name for name in _FILES if (folder / name).exists()]
    told = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return (
        f"<div><b>{_text(title)}</b>{table}"
        f"{f'<ul>{told}</ul>' if told else ''}"
        f"<div><code>{_text(folder)}</code>: {_text(', '.join(there) or 'nothing yet')}</div></div>"
    )


def runs_as_html(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a row for each of several runs.

    Args:
        title: What stands above.
        columns: What of each run is told.
        rows: The values, by column; None where a run has none.
    """
    heads = "".join(f"<th>{_text(column)}</th>" for column in columns)
    told = "".join(
        f"<tr>{''.join(_cell(row[column]) for column in columns)}</tr>" for row in rows[:_MOST_RUNS]
    )
    more = len(rows) - _MOST_RUNS
    below = f"<div>and {more} more</div>" if more > 0 else ""
    return f"<div><b>{_text(title)}</b><table><tr>{heads}</tr>{told}</table>{below}</div>"


def _cell(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    told = "" if value is None else f"{value:.4g}" if isinstance(value, float) else value
    side = "right" if is_number else "left"
    return f'<td style="text-align:{side};padding:0 .5em">{_text(told)}</td>'


def _row(
    layer: str, values: Sequence[float | None], modes: Sequence[str], features: int | None
) -> str:
    cells = "".join(
        f"<td>{_bar(value, mode, features)}</td>" for value, mode in zip(values, modes, strict=True)
    )
    return f'<tr><td style="text-align:left"><code>{_text(layer)}</code></td>{cells}</tr>'


def _bar(value: float | None, mode: str, features: int | None) -> str:
    if value is None:
        return ""
    if not math.isfinite(value):
        return "not finite"
    width = round(_BAR * min(max(value, 0.0), 1.0))
    dimensions = f" ({round(value * features)} of {features})" if features else ""
    return (
        '<div style="display:flex;align-items:center;gap:6px;white-space:nowrap">'
        f'<span style="display:inline-block;width:{_BAR}px;background:rgba(128,128,128,.25)">'
        f'<span style="display:block;height:10px;width:{width}px;background:{_COLOURS[mode]}">'
        f"</span></span>{value:.1%}{dimensions}</div>"
    )


def _text(told: object) -> str:
    return html.escape(printable(told))
