"""A statistic of a recorded run's layers at one epoch, and the run for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from delve.cli.scalars import summarise_scalars
from delve.cli.tail import find_tail
from delve.errors import ArgumentError
from delve.metrics import STATS
from delve.recorded_run import RecordedRun
from delve.records import MODES, EpochRecord, Metric, enumerate_epochs

SATURATION = "saturation"
SAMPLES = "samples"

_WIDEST = 1_000_000  # features: two shares of fewer are told apart in float64


@dataclass(frozen=True)
class Cell:
    """A layer's value, and its change since the first epoch that has one."""

    value: float
    change: float


@dataclass(frozen=True)
class LayerTable:
    """One statistic of every layer at one epoch.

    Attributes:
        stat: The statistic's long name.
        epoch: The epoch.
        layers: Those that have a value, in forward order.
        cells: The values by mode and layer.
        tail: The last layers whose saturation is far below the rest, if there are such.
        few_samples: The layers that are known to have seen fewer samples than they have features.
    """

    stat: str
    epoch: int
    layers: tuple[str, ...]
    cells: Mapping[str, Mapping[str, Cell]]
    tail: tuple[str, ...] = ()
    few_samples: tuple[str, ...] = ()


def recorded_stats(run: RecordedRun) -> list[str]:
    """The long names of the statistics that the run's epochs hold, in first-seen order."""
    return list(dict.fromkeys(metric.stat for record in run.records for metric in record.metrics))


def choose_stats(run: RecordedRun, wanted: Sequence[str]) -> list[str]:
    """The long names of the statistics wanted; saturation, else the first one, by default.

    Args:
        run: The run.
        wanted: Long names, or the names that the tracker takes (``lsat``).

    Raises:
        ArgumentError: The run holds no such statistic.
    """
    held = recorded_stats(run)
    if not wanted:
        return [SATURATION] if SATURATION in held else held[:1]
    chosen: list[str] = []
    for name in wanted:
        names = {name} | {stat.name for stat in STATS if stat.key == name}
        found = [stat for stat in held if stat in names]
        if not found:
            raise ArgumentError(
                f"{run.folder} holds no statistic {name!r}; it holds {', '.join(held) or 'none'}"
            )
        chosen += found
    return list(dict.fromkeys(chosen))


def layer_table(run: RecordedRun, stat: str, epoch: int | None = None) -> LayerTable:
    """A statistic of every layer at an epoch, by default the last one that holds any.

    Raises:
        ArgumentError: The run holds no such epoch, or nothing of the statistic there.
    """
    shown = _epoch_of(run, stat, epoch)
    first: dict[Metric, float] = {}
    for record in run.records:
        for metric, value in record.metrics.items():
            if metric.stat == stat:
                first.setdefault(metric, value)
    cells: dict[str, dict[str, Cell]] = {}
    for mode in MODES:
        row = {
            metric.layer: Cell(value, value - first[metric])
            for metric, value in shown.metrics.items()
            if (metric.mode, metric.stat) == (mode, stat)
        }
        if row:
            cells[mode] = row
    present = dict.fromkeys(layer for row in cells.values() for layer in row)
    layers = tuple(dict.fromkeys([*(x for x in run.layers if x in present), *present]))
    return LayerTable(
        stat=stat,
        epoch=shown.epoch,
        layers=layers,
        cells=cells,
        tail=_tail(layers, cells) if stat == SATURATION else (),
        few_samples=_few_samples(run, shown, layers),
    )


def as_json(run: RecordedRun, tables: Sequence[LayerTable]) -> dict[str, Any]:
    """The run for programs; numbers that are not finite become None."""
    return {
        "folder": str(run.folder),
        "run_id": run.run_id,
        "created": run.created,
        "epochs": run.epochs,
        "resumes": list(run.resumes),
        "layers": list(run.layers),
        "config": dict(run.config),
        "scalars": {
            summary.name: {
                "last": _finite(summary.last),
                "best": summary.best,
                "best_epoch": summary.best_epoch,
                "best_is": "lowest" if summary.lowest else "highest",
            }
            for summary in summarise_scalars(run)
        },
        "stats": [_table_as_json(table) for table in tables],
    }


def _table_as_json(table: LayerTable) -> dict[str, Any]:
    return {
        "stat": table.stat,
        "epoch": table.epoch,
        "layers": {
            layer: {
                mode: {"value": _finite(row[layer].value), "change": _finite(row[layer].change)}
                for mode, row in table.cells.items()
                if layer in row
            }
            for layer in table.layers
        },
        "tail": list(table.tail),
        "few_samples": list(table.few_samples),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _epoch_of(run: RecordedRun, stat: str, epoch: int | None) -> EpochRecord:
    holding = {
        record.epoch: record
        for record in run.records
        if any(metric.stat == stat for metric in record.metrics)
    }
    wanted = max(holding, default=None) if epoch is None else epoch
    if wanted is None or wanted not in holding:
        where = f"epoch {epoch}" if epoch is not None else "any epoch"
        held = f"; it does of epochs {enumerate_epochs(list(holding))}" if holding else ""
        raise ArgumentError(f"{run.folder} holds no {stat} of {where}{held}")
    return holding[wanted]


def _tail(layers: Sequence[str], cells: Mapping[str, Mapping[str, Cell]]) -> tuple[str, ...]:
    values = {
        layer: [
            row[layer].value
            for row in cells.values()
            if layer in row and math.isfinite(row[layer].value)
        ]
        for layer in layers
    }
    return find_tail(layers, values)


def _few_samples(run: RecordedRun, shown: EpochRecord, layers: Sequence[str]) -> tuple[str, ...]:
    """The layers with n < d, where the run recorded n; d is inferred."""
    samples: dict[str, float] = {}
    for metric, value in shown.metrics.items():
        if metric.stat == SAMPLES:
            samples[metric.layer] = min(value, samples.get(metric.layer, math.inf))
    features = _features(run) if samples else {}
    return tuple(layer for layer in layers if samples.get(layer, math.inf) < features.get(layer, 1))


def _features(run: RecordedRun) -> dict[str, int]:
    """A divisor of the number of each layer's features, mostly that number itself.

    A saturation is k/d of a whole k, so its denominator in lowest terms divides d.
    """
    shares: dict[str, set[float]] = {}
    for record in run.records:
        for metric, value in record.metrics.items():
            if metric.stat == SATURATION and 0 < value <= 1:
                shares.setdefault(metric.layer, set()).add(value)
    divisors = {layer: math.lcm(*map(_denominator, values)) for layer, values in shares.items()}
    return {layer: divisor for layer, divisor in divisors.items() if 0 < divisor <= _WIDEST}


def _denominator(share: float) -> int:
    """In lowest terms; 0 where the number is no share of any width."""
    fraction = Fraction(share).limit_denominator(_WIDEST)
    return fraction.denominator if float(fraction) == share else 0
