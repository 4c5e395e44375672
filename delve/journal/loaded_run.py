"""A recorded run for programs: what ``delve.load`` returns."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from delve.errors import ArgumentError, DelveError
from delve.journal.arrays import read_stored_array
from delve.journal.findings import notes_of
from delve.journal.frames import Part, layers_frame, scalars_frame
from delve.journal.html import run_as_html
from delve.journal.pages import Page, run_pages
from delve.journal.status import State, Status
from delve.journal.stored_run import StoredRun
from delve.journal.table import Table
from delve.records import enumerate_epochs
from delve.stats.registry import long_name_of, split_mode

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class LoadedRun:
    """A run as it stood when it was loaded. Nothing of it changes, and nothing can be set.

    Attributes:
        name: What it is called: its folder's name, or below which of several it lies.
        stored: What its journal tells.
        table: Its numbers.
        standing: How it stood with it.
    """

    name: str
    stored: StoredRun = field(repr=False)
    table: Table = field(repr=False)
    standing: Status

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.stored.folder

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters that were given last."""
        return dict(self.stored.config)

    @property
    def status(self) -> State:
        """``running``, ``finished``, ``failed``, ``killed``, or ``unknown``."""
        return self.standing.state

    @property
    def error(self) -> str:
        """The class of the exception by which it failed; empty otherwise."""
        return self.standing.error

    @property
    def epochs(self) -> list[int]:
        """The recorded epochs, in rising order."""
        return self.stored.epochs

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers in forward order."""
        return self.stored.layers

    @property
    def features(self) -> dict[str, int]:
        """How many features each layer has, as far as the journal tells."""
        return dict(self.stored.features)

    @property
    def scalars(self) -> pd.DataFrame:
        """Your own numbers: epoch, step, name, value, one row for each."""
        return scalars_frame([self.part], has_names=False)

    @property
    def layers(self) -> pd.DataFrame:
        """The layers' statistics: epoch, step, mode, layer, stat, value, one row for each.

        Layers are categories in forward order, so what is grouped by them is in that order.
        """
        return layers_frame([self.part], has_names=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is wrong with the network, and what to know before the numbers are believed."""
        last = self.stored.record_of(self.epochs[-1]) if self.epochs else None
        few = last.few_samples if last else {}
        told = [
            f"fewer samples than features ({mode}), so saturation is biased low, in: "
            f"{', '.join(layers)}"
            for mode, layers in few.items()
        ]
        if self.stored.damaged_lines:
            lines = enumerate_epochs(self.stored.damaged_lines)
            told.append(f"lines of the journal cannot be read: {lines}")
        return (*told, *map(str, notes_of(self.stored)))

    @property
    def pages(self) -> dict[str, Page]:
        """Where to look at the run in each backend that has a place for that, by writer.

        Raises:
            JournalError: The journal cannot be read any more.
        """
        return run_pages(self.folder)

    def array(self, stat: str, layer: str, epoch: int | None = None) -> np.ndarray:
        """An array of a layer, as ``save_to="npy"`` has stored it.

        Args:
            stat: ``cov``, ``embed``, ``spectrum``, or the long name; with ``_train`` or ``_eval``
                for that mode. Without, evaluation, or training where there is none of it.
            layer: The layer's name.
            epoch: By default the last one that is stored.

        Raises:
            ArgumentError: There is no such array; it says what there is.
        """
        return read_stored_array(self.folder, stat, layer, epoch)

    def plot(
        self, stat: str = "saturation", epoch: int | None = None, by: str | None = None
    ) -> Any:
        """A figure of Matplotlib: one statistic of every layer at an epoch.

        Args:
            stat: As the tracker takes it, ``lsat``, or its long name.
            epoch: By default the last one that holds the statistic.
            by: ``layer`` for all in forward order, ``type`` for a panel for each type of layer,
                over the depth; by default more than 12 that repeat in blocks stand by type.

        Raises:
            ArgumentError: The run holds nothing of it there.
            DelveError: The plot plugin is not installed.
        """
        base, mode = split_mode(stat)
        name = long_name_of(base)
        records = [self.stored.record_of(epoch)] if epoch is not None else self.stored.records[::-1]
        for record in records:
            metrics = {
                metric: value
                for metric, value in (record.metrics.items() if record else ())
                if metric.stat == name and mode in (None, metric.mode)
            }
            if record and metrics:
                when = {"epoch": record.epoch, "step": record.step}
                return plot_plugin().layers_figure(
                    metrics, self.layer_names, stat=name, by=by, **when
                )
        where = "any epoch" if epoch is None else f"epoch {epoch}"
        raise ArgumentError(f"{self.folder} holds no {stat} of {where}")

    def __repr__(self) -> str:
        epochs = len(self.epochs)
        return f"<run {self.name!r}: {self.standing}, {epochs} epoch{'s' * (epochs != 1)}>"

    def _repr_html_(self) -> str:
        records = (record for record in self.stored.records[::-1] if record.metrics)
        last = next(records, None)
        saturations = {
            (metric.mode, metric.layer): value
            for metric, value in (last.metrics if last else {}).items()
            if metric.stat == "saturation"
        }
        count = len(self.epochs)
        return run_as_html(
            f"{self.name}: {self.standing}, {count} epoch{'s' * (count != 1)}",
            self.folder,
            self.layer_names,
            saturations,
            self.stored.features,
            self.notes,
        )

    @property
    def part(self) -> Part:
        """What tables of several runs are made of."""
        return self.name, self.table, self.stored.layers, self.stored.steps


def plot_plugin() -> Any:
    """The plugin that draws.

    Raises:
        DelveError: It is not installed.
    """
    try:
        return importlib.import_module("delve_plot")
    except ImportError as error:
        raise DelveError(
            "plot() draws with the plot plugin, which is not installed; pip install "
            "./delve_plugins/delve-plot in a checkout of Delve"
        ) from error
