"""Figures of recorded runs, drawn after the fact in the style of the writer's."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from delve.cli import (
    TAIL_LABEL,
    Choice,
    LayerTable,
    StoredRun,
    layer_table,
    shorten,
    stretches,
)
from delve.errors import ArgumentError, DelveError
from delve.files import file_name, is_plain, names_for, replacing
from delve.records import Metric
from delve_plot.all_epochs import recorded_heatmap
from delve_plot.arrangement import TYPE
from delve_plot.comparison import comparison_figure, drawn_by_type
from delve_plot.error_bars import ENDS
from delve_plot.figures import saturation_figure, write_png
from delve_plot.lettering import width_of
from delve_plot.loaded import check_by, compare
from delve_plot.settings import drawn_in
from delve_plot.signature import SIGNATURE, is_own
from delve_plot.stats import figure_of
from delve_plot.style import EDGE, FONT_SIZE

_DPI = 150
_TAIL_COLOUR = "#F0E442"  # Okabe and Ito's yellow, which leaves dots and lines readable
_TAIL_ALPHA = 0.35
_DIGEST = 6  # characters that tell files of runs of one name apart
_LONGEST_NAMES = 60  # characters of a file's name, for those of several runs


def draw_run(
    run: StoredRun,
    name: str,
    choices: Sequence[Choice],
    folder: Path,
    epoch: int | None = None,
    by: str | None = None,
) -> Iterator[Path]:
    """Draw one epoch of a run, and a heatmap of all epochs for each mode; yields the files.

    Many layers that repeat in blocks are drawn in forward order, and once more by type.

    Args:
        run: The run.
        name: What the titles and the files' names begin with.
        choices: What to draw: one statistic, or eigenvalues, which share a figure.
        folder: Where to; it is made if need be.
        epoch: By default the last one that holds the statistic.
        by: ``layer`` or ``type`` for one of these two alone.

    Raises:
        ArgumentError: The run does not hold it, or it cannot be drawn.
    """
    check_by(by)
    tables = [layer_table(run, choice, epoch) for choice in choices]
    first, shown = tables[0], figure_of(choices[0].stat)
    stem = f"{_stem([run], name)}-{_of_mode(choices[0])}"
    if by != TYPE:
        with _drawing(run.folder, shown), drawn_in("delve"):
            figure = saturation_figure(
                _metrics(tables), first.layers, stat=shown, epoch=first.epoch, step=first.step
            )
            _mark_tail(figure, first)
            path = _save(_named(figure, name), folder / f"{stem}{shown}.png")
        yield path
    if by == TYPE or (by is None and drawn_by_type(first.layers)):
        with _drawing(run.folder, shown), drawn_in("delve"):
            figure = comparison_figure([first], [name], by=TYPE)
            path = _save(_named(figure, name), folder / f"{stem}{shown}-by-type.png")
        yield path
    stem = _stem([run], name)
    for mode in first.cells:
        with _drawing(run.folder, shown), drawn_in("delve"):
            figure = recorded_heatmap(run, choices[0].stat, mode)
            path = _save(_named(figure, name), folder / f"{stem}-{mode}-{shown}-heatmap.png")
        yield path


def draw_comparison(
    runs: Sequence[StoredRun],
    names: Sequence[str],
    choice: Choice,
    folder: Path,
    epoch: int | None = None,
    by: str | None = None,
    within: str = "",
) -> Path:
    """Draw one statistic of several runs into one figure, and return its file.

    Args:
        runs: The runs.
        names: What each is called in the legend.
        choice: The statistic.
        folder: Where to; it is made if need be.
        epoch: By default each run's last one that holds the statistic.
        by: What panels are for; by default the figure suits the runs.
        within: The name of the folder that all of them lie in, if they were found there.

    Raises:
        ArgumentError: A run does not hold it, or it cannot be drawn.
    """
    called = "-".join(names)
    if within or len(called) > _LONGEST_NAMES:
        called = f"{within}-{len(runs)}-runs" if within else f"{len(runs)}-runs"
    ending = f"-by-{by}" if by else ""
    name = f"{_stem(runs, called)}-{_of_mode(choice)}{choice.stat}{file_name(ending) if by else ''}"
    with _drawing(runs[0].folder, choice.stat), drawn_in("delve"):
        figure = compare(runs, names, choice, epoch, by, within)
        return _save(figure, folder / f"{name}.png")


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


def _stem(runs: Sequence[StoredRun], called: str) -> str:
    """What a file's name begins with: the same for the same runs, and for no others."""
    ids = "-".join(run.run_id for run in runs)
    digest = hashlib.sha256(ids.encode()).hexdigest()[:_DIGEST]
    return f"{file_name(called.replace('/', '-'))}-{digest}"


def _of_mode(choice: Choice) -> str:
    """The mode with a hyphen, where only one is wanted."""
    return f"{choice.modes[0]}-" if len(choice.modes) == 1 else ""


def _metrics(tables: Sequence[LayerTable]) -> dict[Metric, float]:
    values: dict[Metric, float] = {}
    for table in tables:
        for mode, row in table.cells.items():
            for layer, cell in row.items():
                values[Metric(mode, table.stat, layer)] = cell.value
                for end, bound in zip(ENDS, cell.bounds or (), strict=False):
                    values[Metric(mode, f"{table.stat}-{end}", layer)] = bound
    return values


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
    title, *more = figure.get_suptitle().split("\n")
    size, room = 1.1 * FONT_SIZE, figure.get_size_inches()[0] - 2 * EDGE
    texts = [f"{shorten(name, length)}: {title}" for length in range(len(name), 0, -1)]
    fitting = next((text for text in texts if width_of(text, size) <= room), title)
    figure.suptitle("\n".join([fitting, *more]), fontsize=size)
    return figure


def _save(figure: Figure, path: Path) -> Path:
    """Write a figure, in place of an earlier one of Delve's; what is not stays, beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path = next(free for free in names_for(path) if not os.path.lexists(free) or _is_ours(free))
    with replacing(path) as file:
        write_png(figure, file, _DPI, SIGNATURE)
    return path


def _is_ours(path: Path) -> bool:
    return is_plain(path) and is_own(path)
