"""Runs that are nothing but a journal, with values that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from delve.journal.journal import Journal
from delve.records import EpochRecord, Metric

BEGUN = 1_700_000_000_000


def write_run(
    folder: Path,
    rows: Sequence[Mapping[str, float]],
    layers: Sequence[str] | None = None,
    config: Mapping[str, Any] | None = None,
    few_samples: Mapping[str, Sequence[str]] | None = None,
    features: Mapping[str, int] | None = None,
) -> Path:
    """Record epochs 0, 1, ... of these values; keys of the form of a layer metric are such.

    With ``features``, those of the layers, the journal tells also of the process and its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = dict.fromkeys(m.layer for row in rows for m in map(Metric.parse, row) if m)
    order = list(named if layers is None else layers)
    journal = Journal.create(folder, order, config or {})
    if features:
        journal.begin()
    for epoch, row in enumerate(rows):
        scalars = {key: value for key, value in row.items() if not Metric.parse(key)}
        metrics = {m: value for key, value in row.items() if (m := Metric.parse(key))}
        time = BEGUN + 60_000 * epoch
        record = EpochRecord(epoch, time, scalars, metrics, few_samples or {})
        journal.write_epoch(replace(record, features=features or {}), order)
    if features:
        journal.end(None)
    journal.close()
    return folder


def saturations(values: Mapping[str, float], modes: Sequence[str] = ("train", "eval")) -> dict:
    """The same saturation of each layer in these modes, as a row."""
    return {f"{mode}-saturation/{layer}": v for mode in modes for layer, v in values.items()}
