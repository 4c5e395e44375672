"""One statistic of several runs in one figure."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from delve.cli import LayerTable, merge_orders
from delve_plot.arrangement import LAYER, TYPE, Config, arrange
from delve_plot.colouring import colouring_of
from delve_plot.compared import Compared
from delve_plot.layer_types import MOST_IN_A_LIST, Types, layer_types

_TYPED = 0.5  # of each run's layers, at least, are of types that all share
_MOST_COLUMNS = 6  # of panels of types: more values have panels with all types in each


def comparison_figure(
    tables: Sequence[LayerTable],
    names: Sequence[str],
    configs: Sequence[Config] = (),
    *,
    by: str | None = None,
    subtitle: str = "",
) -> Figure:
    """Draw a line for each run; what tells them apart is chosen by :mod:`delve_plot.arrangement`.

    Runs of one model share the rows, which bear the layers' names. Where fewer than half of the
    names are common to all, rows count the layers of each run from the first on. More than 12
    layers that repeat in blocks are drawn by type, over the number of the block.

    Args:
        tables: One for each run, all of one statistic.
        names: What the runs are called in the legend.
        configs: The hyperparameters of each run, nested ones by dotted names.
        by: What panels are wanted for: a hyperparameter, ``type``, ``layer``, or ``run``.
        subtitle: What stands below the title: which runs these are.

    Returns:
        A figure of its own, unknown to pyplot.

    Raises:
        ArgumentError: There is nothing to draw panels of.
    """
    from delve_plot.row_panels import row_figure
    from delve_plot.type_panels import type_figure

    types = _types(tables, by)
    runs = Compared.of(tables, names, configs, by_name=types is not None)
    plan = arrange(runs.configs, by, types is not None)
    title = "\n".join(filter(None, [runs.title, subtitle]))
    colouring = colouring_of(runs, plan)
    columns = len(runs.by_value(plan.panels)) if plan.panels else 1
    if plan.by_type and types is not None and not plan.by_run and columns <= _MOST_COLUMNS:
        return type_figure(runs, types, plan, colouring, title)
    return row_figure(runs, types if plan.by_type else None, plan, colouring, title)


def drawn_by_type(layers: Sequence[str]) -> bool:
    """Whether layers are drawn by type where nobody says how: many, which repeat in blocks."""
    return len(layers) > MOST_IN_A_LIST and layer_types(layers) is not None


def _types(tables: Sequence[LayerTable], by: str | None) -> Types | None:
    """The types of the layers, if they are drawn by them.

    Runs may have different numbers of blocks, but of the same types.
    """
    merged = merge_orders([table.layers for table in tables])
    if by == LAYER or (by != TYPE and len(merged) <= MOST_IN_A_LIST):
        return None
    types = layer_types(merged)
    typed = {layer for one in types.types for layer in one.layers} if types else set()
    shares = [len(typed.intersection(t.layers)) / max(len(t.layers), 1) for t in tables]
    return types if min(shares) >= _TYPED else None
