"""Tidy DataFrames of recorded runs: one row for each number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from delve.errors import DelveError
from delve.journal.table import Block, Table
from delve.records import MODES, forward_order

if TYPE_CHECKING:
    import pandas as pd

# A run's name, its numbers, its layers in forward order, and the steps of its epochs.
Part = tuple[str, Table, Sequence[str], Mapping[int, int]]


def scalars_frame(parts: Sequence[Part], has_names: bool) -> pd.DataFrame:
    """The user's scalars: epoch, step, name, value; of several runs, with the run's name first."""
    names = dict.fromkeys(n for _, table, _, _ in parts for b in table.scalars for n in b.names)
    codes = {name: code for code, name in enumerate(names)}
    found = [_column(table.scalars, lambda name: codes[name]) for _, table, _, _ in parts]
    name_codes = _together([code for code, _, _ in found], np.int64)
    columns = {"name": _categories(name_codes, list(names))}
    return _frame(parts, found, columns, has_names)


def layers_frame(parts: Sequence[Part], has_names: bool) -> pd.DataFrame:
    """The statistics of layers: epoch, step, mode, layer, stat, value; the run's name first."""
    metrics = dict.fromkeys(m for _, table, _, _ in parts for b in table.metrics for m in b.names)
    order = dict.fromkeys(layer for _, _, layers, _ in parts for layer in layers)
    layers = forward_order(order, [metric.layer for metric in metrics])
    stats = list(dict.fromkeys(metric.stat for metric in metrics))
    codes = {metric: code for code, metric in enumerate(metrics)}
    layer_of = {layer: place for place, layer in enumerate(layers)}
    stat_of = {stat: place for place, stat in enumerate(stats)}
    found = [_column(table.metrics, lambda metric: codes[metric]) for _, table, _, _ in parts]
    places = _together([code for code, _, _ in found], np.int64)

    def of_each(part: Iterable[int], names: Sequence[str]) -> Any:
        return _categories(np.fromiter(part, np.int32, len(metrics))[places], list(names))

    columns = {
        "mode": of_each((MODES.index(metric.mode) for metric in metrics), MODES),
        "layer": of_each((layer_of[metric.layer] for metric in metrics), layers),
        "stat": of_each((stat_of[metric.stat] for metric in metrics), stats),
    }
    return _frame(parts, found, columns, has_names)


def summary_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each run, as they are given."""
    frame: pd.DataFrame = _pandas().DataFrame(rows)
    return frame


_Column = tuple[np.ndarray, np.ndarray, np.ndarray]  # codes of names, rows, values


def _column(blocks: Sequence[Block], code_of: Any) -> _Column:
    """All numbers of a run below each other, in the order of its rows."""
    codes = _together(
        [np.tile([code_of(n) for n in block.names], len(block.rows)) for block in blocks], np.int64
    )
    rows = _together([np.repeat(block.rows, len(block.names)) for block in blocks], np.int64)
    numbers = _together([block.values.ravel() for block in blocks], np.float64)
    if len(blocks) < 2:
        return codes, rows, numbers
    order = np.argsort(rows, kind="stable")
    return codes[order], rows[order], numbers[order]


def _frame(
    parts: Sequence[Part], found: Sequence[_Column], columns: Mapping[str, Any], has_names: bool
) -> pd.DataFrame:
    pandas = _pandas()
    held: dict[str, Any] = {}
    if has_names:
        runs = np.repeat(np.arange(len(parts)), [len(rows) for _, rows, _ in found])
        held["run"] = _categories(runs, [name for name, _, _, _ in parts])
    pairs = list(zip(parts, found, strict=True))
    held["epoch"] = _together([part[1].epochs[rows] for part, (_, rows, _) in pairs], np.int64)
    steps = [_steps(part[1], part[3]) for part in parts]
    at = _together([of_run[rows] for of_run, (_, rows, _) in zip(steps, found, strict=True)], float)
    is_missing = np.isnan(at)
    held["step"] = pandas.arrays.IntegerArray(
        np.where(is_missing, 0, at).astype(np.int64), is_missing
    )
    held |= columns
    held["value"] = _together([numbers for _, _, numbers in found], np.float64)
    frame: pd.DataFrame = pandas.DataFrame(held, copy=False)
    return frame


def _steps(table: Table, steps: Mapping[int, int]) -> np.ndarray:
    """The step of each row; NaN where it has none."""
    if not steps:
        return np.full(len(table.epochs), np.nan)
    return np.array([steps.get(epoch, np.nan) for epoch in table.epochs.tolist()], dtype=float)


def _together(parts: Sequence[np.ndarray], kind: Any) -> np.ndarray:
    return np.concatenate([np.empty(0, kind), *parts]).astype(kind, copy=False)


def _categories(codes: np.ndarray, names: Sequence[str]) -> Any:
    return _pandas().Categorical.from_codes(codes, categories=list(names))


def _pandas() -> Any:
    """Pandas, which is imported when a table is made."""
    try:
        import pandas as pd
    except ImportError as error:
        raise DelveError(
            "a table of a run is a DataFrame of pandas, which is not installed; install pandas"
        ) from error
    return pd
