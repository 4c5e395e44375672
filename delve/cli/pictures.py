"""Pictures of recorded runs, drawn after the fact with the plot plugin, and in its style."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from delve.cli.choice import Choice
from delve.cli.labels import shorten
from delve.cli.report import LayerTable, layer_table
from delve.cli.tail import TAIL_LABEL, stretches
from delve.delivery.discovery import OUR_PLUGINS
from delve.errors import ArgumentError, DelveError, WriterNotFoundError
from delve.files.names import file_name
from delve.files.whole import replacing
from delve.journal.stored_run import StoredRun
from delve.records import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 150
_TAIL_COLOUR = "#F0E442"  # Okabe and Ito's yellow, which leaves dots and lines readable
_TAIL_ALPHA = 0.35
_DIGEST = 6  # characters that tell files of runs of one name apart


def draw_run(
    run: StoredRun,
    name: str,
    choices: Sequence[Choice],
    folder: Path,
    epoch: int | None = None,
) -> Iterator[Path]:
    """Draw one epoch of a run, and a heatmap of all epochs for each mode; yields the files.

    Args:
        run: The run.
        name: What the titles and the files' names begin with.
        choices: What to draw: one statistic, or eigenvalues, which share a picture.
        folder: Where to; it is made if need be.
        epoch: By default the last one that holds the statistic.

    Raises:
        ArgumentError: The run does not hold it.
        WriterNotFoundError: The plot plugin is not installed.
    """
    _check_plugin()
    from delve_plot.figures import saturation_figure
    from delve_plot.settings import drawn_in
    from delve_plot.stats import picture_of

    tables = [layer_table(run, choice, epoch) for choice in choices]
    first, picture = tables[0], picture_of(choices[0].stat)
    stem = _stem([run], [name])
    with _drawing(run.folder, picture), drawn_in("delve"):
        figure = saturation_figure(_metrics(tables), first.layers, stat=picture, epoch=first.epoch)
        _mark_tail(figure, first)
        path = _save(_named(figure, name), folder / f"{stem}-{picture}.png")
    yield path
    for mode in first.cells:
        with _drawing(run.folder, picture), drawn_in("delve"):
            figure = _heatmap(run, choices[0].stat, picture, mode)
            path = _save(_named(figure, name), folder / f"{stem}-{mode}-{picture}-heatmap.png")
        yield path


def draw_comparison(
    runs: Sequence[StoredRun],
    names: Sequence[str],
    choice: Choice,
    folder: Path,
    epoch: int | None = None,
) -> Path:
    """Draw one statistic of several runs into one picture, and return its file.

    Args:
        runs: The runs.
        names: What each is called in the legend.
        choice: The statistic.
        folder: Where to; it is made if need be.
        epoch: By default each run's last one that holds the statistic.

    Raises:
        ArgumentError: A run does not hold it.
        WriterNotFoundError: The plot plugin is not installed.
    """
    _check_plugin()
    from delve_plot.settings import drawn_in

    from delve.cli.comparison import comparison_figure

    tables = [layer_table(run, choice, epoch) for run in runs]
    path = folder / f"{_stem(runs, names)}-{choice.stat}.png"
    with _drawing(runs[0].folder, choice.stat), drawn_in("delve"):
        return _save(comparison_figure(tables, names), path)


@contextlib.contextmanager
def _drawing(folder: Path, stat: str) -> Iterator[None]:
    """Say in one line what cannot be drawn, such as values at the end of what floats can hold."""
    try:
        yield
    except DelveError:
        raise
    except (ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"{folder}: {stat} cannot be drawn ({type(error).__name__}: {error}); choose another "
            "with --stat, or look at it with delve show"
        ) from error


def _check_plugin() -> None:
    try:
        import delve_plot  # noqa: F401 - whether it can be imported is the question
    except ImportError as error:
        raise WriterNotFoundError(
            f"pictures need the plot plugin, which cannot be imported ({error}): run pip install "
            f"./delve_plugins/{OUR_PLUGINS['plot']} in a checkout of Delve"
        ) from error


def _stem(runs: Sequence[StoredRun], names: Sequence[str]) -> str:
    """What a file's name begins with: the same for the same runs, and for no others."""
    ids = "-".join(run.run_id for run in runs)
    digest = hashlib.sha256(ids.encode()).hexdigest()[:_DIGEST]
    return f"{file_name('-'.join(names).replace('/', '-'))}-{digest}"


def _metrics(tables: Sequence[LayerTable]) -> dict[Metric, float]:
    return {
        Metric(mode, table.stat, layer): cell.value
        for table in tables
        for mode, row in table.cells.items()
        for layer, cell in row.items()
    }


def _mark_tail(figure: Figure, table: LayerTable) -> None:
    """Put the tail on a coloured ground. Rows stand in the order of the table's layers."""
    if not table.tail:
        return
    for axes, part in itertools.product(figure.axes, stretches(table.layers, table.tail)):
        first, last = table.layers.index(part[0]), table.layers.index(part[-1])
        axes.axhspan(first - 0.5, last + 0.5, color=_TAIL_COLOUR, alpha=_TAIL_ALPHA, zorder=-1)
    figure.supxlabel(f"{figure.get_supxlabel()}\nyellow: {TAIL_LABEL}", fontsize="small")


def _named(figure: Figure, name: str) -> Figure:
    """Put the run's name before the title, as much of it as the line has room for."""
    from delve_plot.lettering import width_of
    from delve_plot.style import EDGE, FONT_SIZE

    title, *more = figure.get_suptitle().split("\n")
    size, room = 1.1 * FONT_SIZE, figure.get_size_inches()[0] - 2 * EDGE
    texts = [f"{shorten(name, length)}: {title}" for length in range(len(name), 0, -1)]
    fitting = next((text for text in texts if width_of(text, size) <= room), title)
    figure.suptitle("\n".join([fitting, *more]), fontsize=size)
    return figure


def _heatmap(run: StoredRun, stat: str, picture: str, mode: str) -> Figure:
    from delve_plot.heatmap import heatmap_figure

    epochs = run.overview.epochs_with(stat, [mode])
    wanted = [m for m in run.overview.first if (m.mode, m.stat) == (mode, stat)]
    present = dict.fromkeys(metric.layer for metric in wanted)
    layers = list(dict.fromkeys([*(x for x in run.layers if x in present), *present]))
    metrics = [Metric(mode, stat, layer) for layer in layers]
    held = set(epochs)
    rows = (record.metrics for record in run.records if record.epoch in held)
    values = np.array([np.array([row.get(m, math.nan) for m in metrics]) for row in rows])
    return heatmap_figure(values.T, epochs, layers, mode=mode, stat=picture)


def _save(figure: Figure, path: Path) -> Path:
    from delve_plot.figures import write_png

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        write_png(figure, file, _DPI)
    return path
