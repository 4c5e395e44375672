"""All layers in one table: what the last row of a run holds of each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from delve.journal import StoredRun
from delve.records import MODES, EpochRecord, Metric, forward_order


def layer_table(run: StoredRun) -> dict[str, list[object]]:
    """The columns of the table, by name; empty where no row holds anything of a layer.

    Layers are in forward order, training before evaluation. What was not recorded is None, and what
    JSON has no number for is a text.

    Args:
        run: The run, as its journal tells it.
    """
    last = last_record(run)
    if last is None:
        return {}
    stats = list(dict.fromkeys(metric.stat for metric in last.metrics))
    held = {(metric.layer, metric.mode) for metric in last.metrics}
    layers = forward_order(run.layers, [metric.layer for metric in last.metrics])
    rows = [(layer, mode) for layer in layers for mode in MODES if (layer, mode) in held]
    place = {"epoch": last.epoch} if last.step is None else {"epoch": last.epoch, "step": last.step}
    return {
        "layer": [layer for layer, _ in rows],
        "mode": [mode for _, mode in rows],
        "features": [run.features.get(layer) for layer, _ in rows],
        **{stat: _column(last, rows, stat) for stat in stats},
        **{name: [value] * len(rows) for name, value in place.items()},
    }


def last_record(run: StoredRun, stat: str | None = None) -> EpochRecord | None:
    """The last row that holds anything of a layer, or this statistic."""
    for record in run.records[::-1]:
        if any(stat in (None, metric.stat) for metric in record.metrics):
            return record
    return None


def _column(record: EpochRecord, rows: Sequence[tuple[str, str]], stat: str) -> list[object]:
    values = (record.metrics.get(Metric(mode, stat, layer)) for layer, mode in rows)
    return [value if value is None or math.isfinite(value) else str(value) for value in values]
