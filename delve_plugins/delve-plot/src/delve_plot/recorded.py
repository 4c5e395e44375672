"""Figures of recorded runs, drawn after the fact in the style of the writer's."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from delve.base import get_logger
from delve.cli import (
    TAIL_LABEL,
    Cell,
    Choice,
    LayerTable,
    StoredRun,
    choose_stats,
    flat_config,
    layer_table,
    run_labels,
    shorten,
    stretches,
)
from delve.errors import ArgumentError, DelveError
from delve.files import file_name, is_plain, names_for, replacing
from delve.records import MODES, Metric, forward_order
from delve_plot.arrangement import LAYER, MOST_COLOURS, TYPE
from delve_plot.comparison import comparison_figure, drawn_by_type
from delve_plot.error_bars import ENDS
from delve_plot.figures import saturation_figure, write_png
from delve_plot.heatmap import heatmap_figure
from delve_plot.lettering import width_of
from delve_plot.settings import drawn_in
from delve_plot.signature import SIGNATURE, is_own
from delve_plot.stats import figure_of
from delve_plot.style import EDGE, FONT_SIZE

_DPI = 150
_TAIL_COLOUR = "#F0E442"  # Okabe and Ito's yellow, which leaves dots and lines readable
_TAIL_ALPHA = 0.35
_DIGEST = 6  # characters that tell files of runs of one name apart
_LONGEST_NAMES = 60  # characters of a file's name, for those of several runs
_LONGEST_LABEL = 32  # characters of a run's name in a legend

logger = get_logger(__name__)


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
    _check_by(by)
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
            figure = _heatmap(run, choices[0].stat, mode)
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
        figure = _comparison(runs, names, choice, epoch, by, within)
        return _save(figure, folder / f"{name}.png")


def runs_figure(
    runs: Sequence[StoredRun],
    names: Sequence[str],
    *,
    stat: str = "saturation",
    epoch: int | None = None,
    by: str | None = None,
    within: str = "",
) -> Figure:
    """Draw one statistic of several recorded runs, as ``delve plot`` does.

    Runs that do not hold it are left out, with a warning.

    Args:
        runs: The runs.
        names: What each is called.
        stat: As the tracker takes it, ``lsat``, or its long name; with ``_train`` or ``_eval`` for
            that mode.
        epoch: By default each run's last one that holds the statistic.
        by: What panels are for; by default the figure suits the runs.
        within: The name of the folder that all of them lie in.

    Returns:
        A figure of its own, unknown to pyplot.

    Raises:
        ArgumentError: No run holds it.
    """
    choice = first_choices(runs, [stat])[0]
    held = holding(dict(zip(names, runs, strict=True)), choice, epoch, _warn)
    return _comparison(list(held.values()), list(held), choice, epoch, by, within)


def layers_figure(
    values: Mapping[Metric, float],
    layers: Sequence[str],
    *,
    stat: str = "saturation",
    epoch: int | None = None,
    step: int | None = None,
    by: str | None = None,
) -> Figure:
    """Draw one statistic of a run's layers in forward order, or by type where that suits them.

    Args:
        values: The layer metrics of one epoch.
        layers: The layers in forward order.
        stat: The statistic's long name.
        epoch: Stands in the title.
        step: The training step, which stands there in its place.
        by: ``layer`` for forward order, ``type``; by default more than 12 layers that repeat in
            blocks stand by type.

    Returns:
        A figure of its own, unknown to pyplot.

    Raises:
        ArgumentError: The layers have no types.
    """
    _check_by(by)
    cells: dict[str, dict[str, Cell]] = {mode: {} for mode in MODES}
    for metric, value in values.items():
        if metric.stat == stat:
            cells[metric.mode][metric.layer] = Cell(value, math.nan)
    held = {mode: row for mode, row in cells.items() if row}
    present = forward_order(layers, [layer for row in held.values() for layer in row])
    if by == TYPE or (by is None and drawn_by_type(present)):
        table = LayerTable(stat, -1 if epoch is None else epoch, tuple(present), held, step=step)
        return comparison_figure([table], ["run"], by=TYPE)
    return saturation_figure(values, layers, stat=stat, epoch=epoch, step=step)


def first_choices(runs: Sequence[StoredRun], wanted: Sequence[str]) -> list[Choice]:
    """The statistics wanted, as the first run tells of them that holds any.

    Raises:
        ArgumentError: None does.
    """
    errors: list[ArgumentError] = []
    for run in runs:
        try:
            if choices := choose_stats(run, wanted):
                return choices
        except ArgumentError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return []


def holding(
    runs: Mapping[str, StoredRun],
    choice: Choice,
    epoch: int | None,
    left_out: Callable[[str], None],
) -> dict[str, StoredRun]:
    """The runs that hold a statistic there, by name.

    Args:
        runs: All of them.
        choice: The statistic.
        epoch: By default any.
        left_out: Is told why another one is left out.

    Raises:
        ArgumentError: None does.
    """
    held, errors = {}, []
    for name, run in runs.items():
        try:
            layer_table(run, choice, epoch)
        except ArgumentError as error:
            errors.append(error)
        else:
            held[name] = run
    if not held and errors:
        raise errors[0]
    for reason in map(str, errors):
        left_out(reason)
    return held


def _comparison(
    runs: Sequence[StoredRun],
    names: Sequence[str],
    choice: Choice,
    epoch: int | None,
    by: str | None,
    within: str,
) -> Figure:
    tables = [layer_table(run, choice, epoch) for run in runs]
    beginning, labels = "", list(names)
    are_long = max(map(len, names)) > _LONGEST_LABEL or len(names) > MOST_COLOURS
    if len(set(names)) == len(names) and are_long:
        beginning, labels = run_labels(names, 2 * _LONGEST_LABEL)
    place = f" in {shorten(within, _LONGEST_LABEL)}" if within else ""
    called = f", called {shorten(beginning, _LONGEST_LABEL)}…" if beginning else ""
    subtitle = f"{len(runs)} runs{place}{called}" if place or called else ""
    configs = [flat_config(run.config) for run in runs]
    return comparison_figure(tables, labels, configs, by=by, subtitle=subtitle)


def _check_by(by: str | None) -> None:
    """Say what one run can be drawn by."""
    if by not in (None, LAYER, TYPE):
        raise ArgumentError(f"--by {by}: one run is drawn by {LAYER} or by {TYPE}")


def _warn(message: str) -> None:
    logger.warning("left out: %s", message)


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


def _heatmap(run: StoredRun, stat: str, mode: str) -> Figure:
    """The statistic over all epochs that hold it in this mode; of eigenvalues the one named."""
    epochs = run.overview.epochs_with(stat, [mode])
    wanted = [m for m in run.overview.first if (m.mode, m.stat) == (mode, stat)]
    layers = forward_order(run.layers, [metric.layer for metric in wanted])
    metrics = [Metric(mode, stat, layer) for layer in layers]
    held = set(epochs)
    rows = (record.metrics for record in run.records if record.epoch in held)
    values = np.array([np.array([row.get(m, math.nan) for m in metrics]) for row in rows])
    return heatmap_figure(
        values.T, epochs, layers, mode=mode, stat=figure_of(stat), steps=run.steps
    )


def _save(figure: Figure, path: Path) -> Path:
    """Write a figure, in place of an earlier one of Delve's; what is not stays, beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path = next(free for free in names_for(path) if not os.path.lexists(free) or _is_ours(free))
    with replacing(path) as file:
        write_png(figure, file, _DPI, SIGNATURE)
    return path


def _is_ours(path: Path) -> bool:
    return is_plain(path) and is_own(path)
