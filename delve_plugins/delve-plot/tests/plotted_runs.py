"""Runs that are nothing but a journal, with values that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from delve.records import Metric
from delve.testing import Recording, Row


class _Nothing:
    """A writer that stores nothing."""

    def save(self) -> None:
        pass


def write_run(
    folder: Path, rows: Sequence[Mapping[str, float]], config: Mapping[str, Any] | None = None
) -> Path:
    """Record epochs 0, 1, ... of these values; keys of the form of a layer metric are such."""
    metrics = [{m: value for key, value in row.items() if (m := Metric.parse(key))} for row in rows]
    layers = list(dict.fromkeys(metric.layer for row in metrics for metric in row))
    recording = Recording(
        _Nothing(), folder, "a run is recorded", layers=layers, config=config or {}
    )
    recording.open()
    for epoch, row in enumerate(rows):
        scalars = {key: value for key, value in row.items() if not Metric.parse(key)}
        recording.save(Row(epoch, scalars, metrics[epoch]))
    recording.close()
    return folder


def saturations(
    values: Mapping[str, float], modes: Sequence[str] = ("train", "eval")
) -> dict[str, float]:
    """The same saturation of each layer in these modes, as a row."""
    return {f"{mode}-saturation/{layer}": v for mode in modes for layer, v in values.items()}
