"""A statistic of a recorded run's layers at one epoch, and the run for programs."""

from __future__ import annotations

import fnmatch
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from delve.cli.choice import SATURATION, Choice
from delve.cli.runs import Damage, counted
from delve.cli.scalars import summarise_scalars
from delve.cli.tail import find_drop, find_tail
from delve.errors import ArgumentError
from delve.journal.lines import to_json
from delve.journal.status import status_of
from delve.journal.stored_run import StoredRun
from delve.numerics.footprint import exact_estimate
from delve.records import EpochRecord, Metric, enumerate_epochs, forward_order

if TYPE_CHECKING:
    from delve.stats.note import Note

DIMENSIONALITY = "intrinsic-dimensionality"


@dataclass(frozen=True)
class Cell:
    """A layer's value.

    Attributes:
        value: The value.
        change: Its change since the first epoch that has a finite one.
        bounds: Between what the exact value lies, of a layer that was gathered by sketch.
    """

    value: float
    change: float
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class LayerTable:
    """One statistic of every layer at one epoch.

    Attributes:
        stat: The statistic's long name.
        epoch: The epoch.
        layers: Those that have a value, in forward order.
        cells: The values by mode and layer.
        is_first: Whether no earlier epoch holds the statistic, so that nothing can have changed.
        tail: The last layers whose saturation is far below the rest, if there are such.
        few_samples: By mode, the layers that saw fewer samples than they have features.
        is_drop: Whether the tail was found by a drop of dimensionalities, not by saturation.
        step: The training step of the epoch, if it has one.
    """

    stat: str
    epoch: int
    layers: tuple[str, ...]
    cells: Mapping[str, Mapping[str, Cell]]
    is_first: bool = False
    tail: tuple[str, ...] = ()
    few_samples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_drop: bool = False
    step: int | None = None
    features: Mapping[str, int] = field(default_factory=dict)

    def of_layers(self, patterns: Sequence[str]) -> LayerTable:
        """The same of the layers alone whose names fit one of these patterns, or of all.

        Raises:
            ArgumentError: None fits.
        """
        if not patterns:
            return self
        kept = [n for n in self.layers if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
        if not kept:
            raise ArgumentError(
                f"--layers: no layer is called {' or '.join(patterns)}; there are: "
                f"{', '.join(self.layers)}"
            )
        cells = {
            mode: {layer: cell for layer, cell in row.items() if layer in kept}
            for mode, row in self.cells.items()
        }
        return replace(self, layers=tuple(kept), cells=cells)


def layer_table(run: StoredRun, choice: Choice, epoch: int | None = None) -> LayerTable:
    """A statistic of every layer at an epoch, by default the last one that holds any.

    Raises:
        ArgumentError: The run holds no such epoch, or nothing of the statistic there.
    """
    stat = choice.stat
    holding = run.overview.epochs_with(stat, choice.modes)
    shown = _epoch_of(run, choice, holding, epoch)
    cells: dict[str, dict[str, Cell]] = {}
    for mode in choice.modes:
        row = {
            metric.layer: Cell(
                value, _change(run, shown, metric, value), _bounds(shown.metrics, metric)
            )
            for metric, value in shown.metrics.items()
            if (metric.mode, metric.stat) == (mode, stat)
        }
        if row:
            cells[mode] = row
    present = [layer for row in cells.values() for layer in row]
    layers = tuple(forward_order(run.layers, present))
    return LayerTable(
        stat=stat,
        epoch=shown.epoch,
        layers=layers,
        cells=cells,
        is_first=shown.epoch == holding[0],
        tail=_tail(run.layers, shown, choice.modes) if stat == SATURATION else (),
        few_samples={
            mode: tuple(layer for layer in row if layer in shown.few_samples.get(mode, ()))
            for mode, row in cells.items()
        },
        is_drop=any(metric.stat == DIMENSIONALITY for metric in shown.metrics),
        step=shown.step,
        features=run.features,
    )


def _change(run: StoredRun, shown: EpochRecord, metric: Metric, value: float) -> float:
    """Since the first epoch; NaN where the model was another one later than the epoch shown."""
    is_before_another = shown.epoch < run.overview.since.get(metric.layer, 0)
    return math.nan if is_before_another else value - run.overview.first[metric]


def as_json(run: StoredRun, tables: Sequence[LayerTable], damage: Damage) -> dict[str, Any]:
    """The run for programs; numbers that are not finite become None."""
    return {
        "folder": str(run.folder),
        "run_id": run.run_id,
        "created": run.created,
        **_standing(run),
        "epochs": run.epochs,
        **({"steps": [run.steps.get(epoch) for epoch in run.epochs]} if run.steps else {}),
        "damaged_lines": list(damage.lines),
        "missing_epochs": [list(span) for span in damage.missing],
        "resumes": list(run.resumes),
        "layers": list(run.layers),
        "config": json.loads(to_json(run.config)),  # a journal made by hand may hold NaN itself
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


def notes_as_json(notes: Sequence[Note]) -> list[dict[str, Any]]:
    """What is wrong with the network."""
    return [
        {
            "kind": note.kind,
            "layers": list(note.layers),
            "text": note.text,
            "source": note.source,
        }
        for note in notes
    ]


def _standing(run: StoredRun) -> dict[str, Any]:
    """Status and features, which journals of earlier versions do not tell."""
    told: dict[str, Any] = {}
    if run.begun is not None:
        status = status_of(run)
        told["status"] = {"state": status.state, "error": status.error, "time": status.time}
    if run.features:
        told["features"] = dict(run.features)
        held, ending = exact_estimate(run.features.values())
        told["bytes"] = {"held": held, "ending": ending}  # at most
    return told


def _table_as_json(table: LayerTable) -> dict[str, Any]:
    return {
        "stat": table.stat,
        "epoch": table.epoch,
        **({} if table.step is None else {"step": table.step}),
        "layers": {
            layer: {
                mode: _cell_as_json(row[layer]) for mode, row in table.cells.items() if layer in row
            }
            for layer in table.layers
        },
        "tail": list(table.tail),
        "few_samples": {mode: list(layers) for mode, layers in table.few_samples.items()},
    }


def _cell_as_json(cell: Cell) -> dict[str, Any]:
    told = {"value": _finite(cell.value), "change": _finite(cell.change)}
    return told | ({} if cell.bounds is None else {"low": cell.bounds[0], "high": cell.bounds[1]})


def _bounds(metrics: Mapping[Metric, float], metric: Metric) -> tuple[float, float] | None:
    low, high = (
        metrics.get(Metric(metric.mode, f"{metric.stat}-{end}", metric.layer))
        for end in ("low", "high")
    )
    return None if low is None or high is None else (low, high)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _epoch_of(
    run: StoredRun, choice: Choice, holding: Sequence[int], epoch: int | None
) -> EpochRecord:
    wanted = max(holding, default=None) if epoch is None else epoch
    record = None if wanted is None else run.record_of(wanted)
    if record is None or wanted not in holding:
        where = f"epoch {epoch}" if epoch is not None else "any epoch"
        held = counted("epoch", enumerate_epochs(holding))
        there = f"; it does of {held}" if holding else ""
        raise ArgumentError(f"{run.folder} holds no {choice.stat} of {where}{there}")
    return record


def _tail(layers: Sequence[str], shown: EpochRecord, modes: Sequence[str]) -> tuple[str, ...]:
    """By dimensionalities where there are any, else by saturation.

    Layers that saw too few samples are low for that alone, so they are left out.
    """

    def values(stat: str) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for metric, value in shown.metrics.items():
            is_misled = metric.layer in shown.few_samples.get(metric.mode, ())
            if metric.stat != stat or metric.mode not in modes or is_misled:
                continue
            if math.isfinite(value):
                found.setdefault(metric.layer, []).append(value)
        return found

    ordered = forward_order(layers, {metric.layer: None for metric in shown.metrics})
    dimensionalities = values(DIMENSIONALITY)
    if dimensionalities:
        return find_drop(ordered, dimensionalities)
    return find_tail(ordered, values(SATURATION))
