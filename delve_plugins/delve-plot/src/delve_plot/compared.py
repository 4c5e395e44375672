"""The runs of a figure that compares them: their values, on rows that they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from delve.cli import LayerTable, merge_orders
from delve.records import MODES
from delve_plot.arrangement import Config, values_of
from delve_plot.stats import Scale, figure_of, scale_of, title_of
from delve_plot.style import told_when

_ALIKE = 0.5  # of all layers' names: from there on runs are of one model


@dataclass(frozen=True)
class Compared:
    """Runs whose layers have places in common.

    Attributes:
        tables: One for each run, all of one statistic.
        names: What the runs are called, all different.
        configs: The hyperparameters of each, nested ones by dotted names.
        rows: The names of the places, in forward order.
        orders: Of each run's layers, the rows.
        is_named: Whether rows are layers; else they count those of each run from the first on.
    """

    tables: Sequence[LayerTable]
    names: Sequence[str]
    configs: Sequence[Config]
    rows: Sequence[str]
    orders: Sequence[Sequence[str]]
    is_named: bool

    @classmethod
    def of(
        cls,
        tables: Sequence[LayerTable],
        names: Sequence[str],
        configs: Sequence[Config] = (),
        *,
        by_name: bool = False,
    ) -> Compared:
        """Runs of one model share the layers' names, those of others the layers' numbers.

        Args:
            tables: One for each run, all of one statistic.
            names: What the runs are called.
            configs: The hyperparameters of each; none by default.
            by_name: Whether layers share names also where most are not in all runs.
        """
        orders: list[Sequence[str]] = [table.layers for table in tables]
        merged = merge_orders(orders)
        is_named = by_name or len(set(merged).intersection(*orders)) >= _ALIKE * len(merged)
        rows = merged
        if not is_named:
            longest = max(len(table.layers) for table in tables)
            rows = [str(number + 1) for number in range(longest)]
            orders = [rows[: len(table.layers)] for table in tables]
        return cls(tables, names, configs or [{}] * len(tables), rows, orders, is_named)

    @property
    def stat(self) -> str:
        """The statistic, by the figure that shows it."""
        return figure_of(self.tables[0].stat)

    @property
    def modes(self) -> list[str]:
        """The modes that any run has values of."""
        return [mode for mode in MODES if any(mode in table.cells for table in self.tables)]

    @property
    def scale(self) -> Scale:
        """The one that all panels share."""
        every = [c.value for t in self.tables for row in t.cells.values() for c in row.values()]
        return scale_of(self.stat, np.array(every, dtype=np.float64))

    @property
    def title(self) -> str:
        """What the figure shows, and of when."""
        told = {told_when(table.epoch, table.step) for table in self.tables}
        when = told.pop() if len(told) == 1 else f"at each run's last {self._span}"
        mode = self.modes[0] if len(self.modes) == 1 else ""
        return ", ".join(filter(None, [title_of(self.stat), mode, when]))

    @property
    def _span(self) -> str:
        """Between which epochs, or steps, the runs are shown: some may have ended early."""
        steps = [table.step for table in self.tables if table.step is not None]
        if len(steps) == len(self.tables):
            return f"row (steps {min(steps)} to {max(steps)})"
        epochs = [table.epoch for table in self.tables]
        return f"epoch ({min(epochs)} to {max(epochs)})"

    def by_value(self, key: str) -> list[tuple[str | None, list[int]]]:
        """The runs by the values of a hyperparameter, in their order."""
        return [
            (value, [n for n, config in enumerate(self.configs) if config.get(key) == value])
            for value in values_of(self.configs, key)
        ]

    def places(self, run: int) -> np.ndarray:
        """The rows of a run's layers, by number."""
        place = {row: number for number, row in enumerate(self.rows)}
        return np.array([place[row] for row in self.orders[run]], dtype=np.int_)

    def values(self, run: int, mode: str) -> np.ndarray:
        """By the run's layers: NaN where there is none, an infinity where it is not finite."""
        row = self.tables[run].cells.get(mode, {})
        layers = self.tables[run].layers
        values = [row[layer].value if layer in row else None for layer in layers]
        finite = [math.nan if v is None else v if math.isfinite(v) else math.inf for v in values]
        return np.array(finite, dtype=np.float64)

    def matrix(self, mode: str) -> np.ndarray:
        """Runs x rows, NaN where there is no value."""
        table = np.full((len(self.tables), len(self.rows)), math.nan)
        for run in range(len(self.tables)):
            table[run, self.places(run)] = self.values(run, mode)
        return table
