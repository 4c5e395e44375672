"""Figures of runs that were read: what ``delve.load`` draws, and ``delve plot`` puts into files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure

from delve.base import get_logger
from delve.cli import (
    Cell,
    Choice,
    LayerTable,
    StoredRun,
    choose_stats,
    flat_config,
    layer_table,
    run_labels,
    shorten,
)
from delve.errors import ArgumentError
from delve.records import MODES, Metric, forward_order
from delve_plot.arrangement import LAYER, MOST_COLOURS, TYPE
from delve_plot.comparison import comparison_figure, drawn_by_type
from delve_plot.figures import saturation_figure

_LONGEST_LABEL = 32  # characters of a run's name in a legend

logger = get_logger(__name__)


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
    return compare(list(held.values()), list(held), choice, epoch, by, within)


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
    check_by(by)
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


def compare(
    runs: Sequence[StoredRun],
    names: Sequence[str],
    choice: Choice,
    epoch: int | None,
    by: str | None,
    within: str,
) -> Figure:
    """Draw runs that hold a statistic, by names that are short where they are long or many.

    Args:
        runs: The runs.
        names: What each is called.
        choice: The statistic.
        epoch: By default each run's last one that holds it.
        by: What panels are for.
        within: The name of the folder that all of them lie in; may be empty.

    Raises:
        ArgumentError: A run does not hold it, or there is nothing to draw panels of.
    """
    tables = [layer_table(run, choice, epoch) for run in runs]
    beginning, labels = "", list(names)
    are_long = max(map(len, names)) > _LONGEST_LABEL or len(names) > MOST_COLOURS
    if len(set(names)) == len(names) and are_long:
        beginning, labels = run_labels(names, 2 * _LONGEST_LABEL)
        if beginning and not beginning.endswith("/"):
            labels = [f"…{label}" for label in labels]
    place = f" in {shorten(within, _LONGEST_LABEL)}" if within else ""
    called = f", called {shorten(beginning, _LONGEST_LABEL)}…" if beginning else ""
    subtitle = (
        f"{len(runs)} runs{place}{called}" if place or called or len(names) > MOST_COLOURS else ""
    )
    configs = [flat_config(run.config) for run in runs]
    return comparison_figure(tables, labels, configs, by=by, subtitle=subtitle)


def check_by(by: str | None) -> None:
    """Say what one run can be drawn by.

    Raises:
        ArgumentError: It is something else.
    """
    if by not in (None, LAYER, TYPE):
        raise ArgumentError(f"by: one run is drawn by {LAYER} or {TYPE}, not by {by!r}")


def _warn(message: str) -> None:
    logger.warning("left out: %s", message)
