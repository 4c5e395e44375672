"""Pictures of recorded runs, drawn after the fact with the plot plugin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from delve.cli.report import LayerTable, layer_table
from delve.cli.tail import TAIL_LABEL
from delve.discovery import OUR_PLUGINS
from delve.errors import WriterNotFoundError
from delve.files import file_name, replacing
from delve.recorded_run import RecordedRun
from delve.records import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 150
_TAIL_COLOUR = "#F0E442"  # Okabe and Ito's yellow, which leaves dots and lines readable
_TAIL_ALPHA = 0.35


def draw_run(
    run: RecordedRun, name: str, stat: str, folder: Path, epoch: int | None = None
) -> Iterator[Path]:
    """Draw one epoch of a run, and a heatmap of all epochs for each mode; yields the files.

    Args:
        run: The run.
        name: What the files' names begin with.
        stat: The statistic's long name.
        folder: Where to; it is made if need be.
        epoch: By default the last one that holds the statistic.

    Raises:
        ArgumentError: The run does not hold it.
        WriterNotFoundError: The plot plugin is not installed.
    """
    _check_plugin()
    from delve_plot.figures import saturation_figure

    table = layer_table(run, stat, epoch)
    figure = saturation_figure(_metrics(table), table.layers, stat=stat, epoch=table.epoch)
    _mark_tail(figure, table)
    stem = file_name(name.replace("/", "-"))
    yield _save(figure, folder / f"{stem}-{stat}.png")
    for mode in table.cells:
        yield _save(_heatmap(run, stat, mode), folder / f"{stem}-{mode}-{stat}-heatmap.png")


def draw_comparison(
    runs: Sequence[RecordedRun],
    names: Sequence[str],
    stat: str,
    folder: Path,
    epoch: int | None = None,
) -> Path:
    """Draw one statistic of several runs into one picture, and return its file.

    Args:
        runs: The runs.
        names: What each is called in the legend.
        stat: The statistic's long name.
        folder: Where to; it is made if need be.
        epoch: By default each run's last one that holds the statistic.

    Raises:
        ArgumentError: A run does not hold it.
        WriterNotFoundError: The plot plugin is not installed.
    """
    _check_plugin()
    from delve.cli.comparison import comparison_figure

    tables = [layer_table(run, stat, epoch) for run in runs]
    return _save(comparison_figure(tables, names), folder / f"{stat}.png")


def _check_plugin() -> None:
    try:
        import delve_plot  # noqa: F401 - whether it can be imported is the question
    except ImportError as error:
        raise WriterNotFoundError(
            f"pictures need the plot plugin, which cannot be imported ({error}): run pip install "
            f"./delve_plugins/{OUR_PLUGINS['plot']} in a checkout of Delve"
        ) from error


def _metrics(table: LayerTable) -> dict[Metric, float]:
    return {
        Metric(mode, table.stat, layer): cell.value
        for mode, row in table.cells.items()
        for layer, cell in row.items()
    }


def _mark_tail(figure: Figure, table: LayerTable) -> None:
    """Put the tail on a coloured ground. Rows stand in the order of the table's layers."""
    if not table.tail:
        return
    first, last = table.layers.index(table.tail[0]), table.layers.index(table.tail[-1])
    for axes in figure.axes:
        axes.axhspan(first - 0.5, last + 0.5, color=_TAIL_COLOUR, alpha=_TAIL_ALPHA, zorder=-1)
    figure.supxlabel(f"{figure.get_supxlabel()}\nyellow: {TAIL_LABEL}", fontsize="small")


def _heatmap(run: RecordedRun, stat: str, mode: str) -> Figure:
    from delve_plot.heatmap import heatmap_figure

    rows = {
        record.epoch: {
            metric.layer: value
            for metric, value in record.metrics.items()
            if (metric.mode, metric.stat) == (mode, stat)
        }
        for record in run.records
    }
    rows = {epoch: row for epoch, row in rows.items() if row}
    present = dict.fromkeys(layer for row in rows.values() for layer in row)
    layers = list(dict.fromkeys([*(x for x in run.layers if x in present), *present]))
    values = [[row.get(layer, math.nan) for row in rows.values()] for layer in layers]
    return heatmap_figure(np.array(values), list(rows), layers, mode=mode, stat=stat)


def _save(figure: Figure, path: Path) -> Path:
    from delve_plot.figures import write_png

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        write_png(figure, file, _DPI)
    return path
