"""A table and plots in one writer, as delve 0.1 documents it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from delve.errors import WriterNotFoundError
from delve.records import Metric, RunInfo
from delve.writers import how_to_install
from delve_plot.settings import Style
from delve_plot.writer import PlotWriter

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def unchanged(axes: Axes) -> Axes:
    """Leave a plot as it is."""
    return axes


class CSVandPlottingWriter:
    """Writes ``metrics.csv`` and draws plots; ``save_to=["csv", "plot"]`` does the same.

    Args:
        savepath: The run's folder, or the path of a file that ends in ``.csv``; the plots come
            into the same folder.
        fontsize: Of titles, in points.
        primary_metric: A scalar of your own to draw beside the layers.
        figsize: Width and height in inches; None is as large as the layers need.
        plot_manipulation_func: Gets the axes of each figure of an epoch before it is saved.
        every: Draw every so many epochs; by default as often as there is time.
        dpi: Dots per inch.
        style: ``delve`` or ``user``, as :class:`PlotWriter` takes it.

    Raises:
        ArgumentError: An argument cannot be used.
        WriterNotFoundError: The CSV writer, a distribution of its own, is not installed.
    """

    def __init__(
        self,
        savepath: str | os.PathLike[str],
        fontsize: float = 16,
        primary_metric: str | None = None,
        figsize: tuple[float, float] | None = (10, 10),
        plot_manipulation_func: Callable[[Axes], object] = unchanged,
        every: int | None = None,
        dpi: float = 150,
        style: Style = "delve",
    ) -> None:
        try:
            from delve_csv import CSVWriter
        except ImportError as error:
            raise WriterNotFoundError(
                f"CSVandPlottingWriter needs the CSV writer ({error}). {how_to_install('csv')}"
            ) from error
        path = Path(savepath)
        self._table = CSVWriter(path)
        self._plots = PlotWriter(
            path.parent if path.suffix == ".csv" else path,
            primary_metric=primary_metric,
            fontsize=fontsize,
            figsize=figsize,
            plot_manipulation_func=plot_manipulation_func,
            every=every,
            dpi=dpi,
            style=style,
        )
        self._begin()

    def _begin(self) -> None:
        """Have nothing staged, whatever an earlier run of the same object has left."""
        self._metrics: dict[Metric, float] = {}
        self._samples: dict[Metric, np.ndarray] = {}

    def start(self, run: RunInfo | None = None) -> None:
        """Begin an empty table, without figures."""
        self._begin()
        self._table.start(run)
        self._plots.start()

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Resume both; answers with the first epoch that either lacks."""
        self._begin()
        return min(
            self._table.resume_from_saved_state(initial_epoch, run),
            self._plots.resume_from_saved_state(initial_epoch, run),
        )

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        """Stage a scalar of the user's."""
        self._table.add_scalar(name, value)
        self._plots.add_scalar(name, value, epoch)

    def add_scalars(
        self,
        prefix: str,
        value_dict: dict[Metric, float],
        sample_value_dict: Mapping[Metric, np.ndarray] | None = None,
        **kwargs: Any,
    ) -> None:
        """Stage the layer metrics, and the embedded samples that come with them."""
        del prefix, kwargs
        self._table.add_scalars(value_dict)
        self._metrics.update(value_dict)
        for name, value in (sample_value_dict or {}).items():
            self.add_sample_scalar(name, value)

    def add_sample_scalar(self, name: Metric, value: np.ndarray, **kwargs: Any) -> None:
        """Stage embedded samples of one layer, (samples x 2)."""
        del kwargs
        self._samples[name] = value

    def add_array(self, name: Metric, value: np.ndarray) -> None:
        """Stage embedded samples; other arrays are not drawn."""
        self.add_sample_scalar(name, value)

    def save(self, epoch: int, run: RunInfo, step: int | None = None) -> None:
        """Append the row, and draw the epoch if it is time."""
        metrics, self._metrics = self._metrics, {}
        samples, self._samples = self._samples, {}
        self._plots.add_scalars(metrics, epoch)
        for name, value in samples.items():
            self._plots.add_array(name, value, epoch)
        self._table.save(epoch, step=step)
        self._plots.save(epoch, run, step)

    def close(self, run: RunInfo) -> None:
        """Draw the last epoch and the heatmaps."""
        self._plots.close(run)
