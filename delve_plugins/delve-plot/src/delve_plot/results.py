"""Plots from a recorded table, ``metrics.csv``: the functions that delve 0.1 documents.

Layers stand on the x axis here. The figures are unknown to pyplot; ``axes.figure`` is the way to
them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from delve.files import replacing
from delve.stats import long_name_of, split_mode
from delve_plot.names import shared_modules, short_names
from delve_plot.stats import is_share, label_of, title_of
from delve_plot.tables import LAST, columns_of_samples, extract_layer_stat, layer_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_BODY = 4.0  # inches of the axes' height
_NAME_SIZE = 10.0  # points


def plot_stat(
    df: pd.DataFrame,
    stat: str,
    pm: float | None = -1,
    savepath: str | os.PathLike[str] = "run.png",
    epoch: int = 0,
    primary_metric: str | None = None,
    fontsize: float = 16,
    figsize: tuple[float, float] | None = None,
    line: bool = True,
    scatter: bool = True,
    ylim: tuple[float, float] | None = (0.0, 1.0),
    alpha_line: float = 0.6,
    alpha_scatter: float = 1.0,
    color_line: Any = None,
    color_scatter: Any = None,
    primary_metric_loc: tuple[float, float] = (0.7, 0.8),
    show_col_label_x: bool = True,
    show_col_label_y: bool = True,
    show_grid: bool = True,
    save: bool = True,
    samples: bool = False,
    stat_mode: str = "train",
) -> Axes:
    """Plot one epoch as :func:`extract_layer_stat` returns it.

    Args:
        df: One row, a column for each layer; with ``samples``, as for
            :func:`plot_scatter_from_results`.
        stat: The statistic, by its long name or its short one.
        pm: The value of the primary metric.
        savepath: Where to save. A table's path (``.csv``) becomes
            ``<table>_<stat>_<mode>_epoch_<epoch>.png`` beside it.
        epoch: Stands in the title; -1 is the table's.
        primary_metric: The name of the primary metric; None leaves it out.
        fontsize: Of titles, in points.
        figsize: Width and height in inches.
        line: Whether to join the layers by a line.
        scatter: Whether to draw a dot for each layer.
        ylim: The range of the y axis; None fits it to the values.
        alpha_line: The line's opacity.
        alpha_scatter: The dots' opacity.
        color_line: The line's colour.
        color_scatter: The dots' colour.
        primary_metric_loc: Where the primary metric stands, as fractions of width and height.
        show_col_label_x: Whether the x axis has a label.
        show_col_label_y: Whether the y axis has a label.
        show_grid: Whether to draw a grid.
        save: Whether to save the figure.
        samples: Whether ``df`` holds embedded samples.
        stat_mode: ``train`` or ``eval``.

    Returns:
        The axes; with ``samples`` those of the first layer.
    """
    from delve_plot.lettering import wrapped
    from delve_plot.style import COLOURS, plain

    if epoch == LAST:
        epoch = int(df.index[-1])
    if samples:
        axes = _scatter_axes(df, epoch, stat_mode, fontsize, figsize)
    else:
        colour = COLOURS.get(stat_mode, COLOURS["train"])
        axes = _layer_axes(df, fontsize, figsize)
        places, values = np.arange(len(df.columns)), df.to_numpy(dtype=np.float64)[0]
        if line:
            axes.plot(places, values, alpha=alpha_line, color=color_line or colour)
        if scatter:
            axes.scatter(places, values, alpha=alpha_scatter, color=color_scatter or colour)
        if ylim is not None:
            axes.set_ylim(ylim)
        if not show_col_label_x:
            axes.set_xlabel("")
        name = long_name_of(stat)
        if show_col_label_y:
            axes.set_ylabel(wrapped(label_of(name), fontsize, _BODY), fontsize=fontsize)
        axes.set_title(f"{title_of(name)}, {stat_mode}, epoch {epoch}", fontsize=fontsize)
        axes.grid(show_grid)
    if primary_metric is not None:
        plain(axes.text(*primary_metric_loc, f"{primary_metric}: {pm}", transform=axes.transAxes))
    if save:
        _save(axes, _figure_path(Path(savepath), stat, stat_mode, epoch))
    return axes


def plot_stat_level_from_results(
    savepath: str | os.PathLike[str],
    epoch: int,
    stat: str,
    primary_metric: str | None = None,
    fontsize: float = 16,
    figsize: tuple[float, float] | None = None,
    line: bool = True,
    scatter: bool = True,
    ylim: tuple[float, float] | Literal["auto"] | None = "auto",
    alpha_line: float = 0.6,
    alpha_scatter: float = 1.0,
    color_line: Any = None,
    color_scatter: Any = None,
    primary_metric_loc: tuple[float, float] = (0.7, 0.8),
    show_col_label_x: bool = True,
    show_col_label_y: bool = True,
    show_grid: bool = True,
    save: bool = True,
    samples: bool = False,
    stat_mode: str = "train",
) -> Axes:
    """Plot one epoch of one statistic from a table's file.

    Args:
        savepath: The table, ``metrics.csv``; the figure is saved beside it.
        epoch: The epoch to plot; -1 is the last.
        stat: The statistic, by its long name or its short one; ``lsat_eval`` names the mode too.
        primary_metric: A column whose value is written into the plot.
        fontsize: Of titles, in points.
        figsize: Width and height in inches.
        line: Whether to join the layers by a line.
        scatter: Whether to draw a dot for each layer.
        ylim: The range of the y axis; None fits it to the values. By default a share such as
            saturation is shown from 0 to 1, and the axis of another statistic fits its values.
        alpha_line: The line's opacity.
        alpha_scatter: The dots' opacity.
        color_line: The line's colour.
        color_scatter: The dots' colour.
        primary_metric_loc: Where the primary metric stands, as fractions of width and height.
        show_col_label_x: Whether the x axis has a label.
        show_col_label_y: Whether the y axis has a label.
        show_grid: Whether to draw a grid.
        save: Whether to save the figure.
        samples: Whether the table holds embedded samples.
        stat_mode: ``train`` or ``eval``, where ``stat`` does not name it.

    Returns:
        The axes.

    Raises:
        ValueError: The table does not hold the epoch, or nothing of the statistic.
    """
    import pandas as pd

    table = pd.read_csv(savepath).set_index("epoch")
    stat, mode = split_mode(stat)
    stat_mode = mode or stat_mode
    if ylim == "auto":
        ylim = (0.0, 1.0) if is_share(long_name_of(stat)) else None
    row, value = extract_layer_stat(table, epoch, primary_metric, stat, stat_mode)
    return plot_stat(
        row,
        stat,
        value,
        savepath,
        LAST,
        primary_metric,
        fontsize,
        figsize,
        line,
        scatter,
        ylim,
        alpha_line,
        alpha_scatter,
        color_line,
        color_scatter,
        primary_metric_loc,
        show_col_label_x,
        show_col_label_y,
        show_grid,
        save,
        samples,
        stat_mode,
    )


def plot_scatter_from_results(
    savepath: str | os.PathLike[str], epoch: int, stat: str, df: pd.DataFrame
) -> Axes | None:
    """Plot embedded samples, a panel for each layer.

    Args:
        savepath: The table beside which the figure is saved, or the figure's own path.
        epoch: The row to plot, by the index; -1 is the last.
        stat: ``embed``; ``embed_eval`` names the mode too.
        df: A row an epoch and a column a layer; a cell holds (samples x 2) numbers.

    Returns:
        The axes of the first layer; None where the table is empty.
    """
    stat, mode = split_mode(stat)
    stat_mode = mode or "train"
    if len(df) and columns_of_samples(df, stat_mode):
        return plot_stat(
            df, stat, savepath=savepath, epoch=epoch, samples=True, stat_mode=stat_mode
        )
    return None


def _layer_axes(df: pd.DataFrame, fontsize: float, figsize: tuple[float, float] | None) -> Axes:
    """Axes with the layers along x."""
    from matplotlib.figure import Figure

    from delve_plot.lettering import width_of
    from delve_plot.style import across, plain

    layers = [layer_of(column) for column in df.columns]
    names = short_names(layers)
    below = max((width_of(name, _NAME_SIZE) for name in names), default=0.0)
    size = max(6.4, 0.3 * len(layers)), max(6.4, _BODY + 1 + below)
    figure = Figure(figsize=figsize or size, layout="constrained")
    axes = figure.subplots()
    axes.set_xticks(range(len(layers)), names, rotation=90, fontsize=_NAME_SIZE)
    plain(*axes.get_xticklabels())
    label = across(figure, shared_modules(layers) or "layers", fontsize)
    plain(axes.set_xlabel(label, fontsize=fontsize))
    axes.tick_params(axis="y", labelsize=fontsize)
    axes.set_axisbelow(True)
    return axes


def _scatter_axes(
    df: pd.DataFrame,
    epoch: int,
    mode: str,
    fontsize: float,
    figsize: tuple[float, float] | None,
) -> Axes:
    from delve_plot.scatter import scatter_figure

    row = df.loc[epoch]
    samples = {
        layer: np.asarray(row[column], dtype=np.float64).reshape(-1, 2)
        for layer, column in columns_of_samples(df, mode).items()
    }
    figure = scatter_figure(samples, mode=mode, epoch=epoch, fontsize=fontsize, figsize=figsize)
    return figure.axes[0]


def _figure_path(savepath: Path, stat: str, mode: str, epoch: int) -> Path:
    if savepath.suffix != ".csv":
        return savepath
    return savepath.with_name(f"{savepath.stem}_{stat}_{mode}_epoch_{epoch}.png")


def _save(axes: Axes, path: Path) -> None:
    from delve_plot.lettering import missing_glyphs_as_boxes

    figure = axes.get_figure(root=True)
    if figure is not None:
        with replacing(path) as file, missing_glyphs_as_boxes():
            figure.savefig(file, format=path.suffix.lstrip(".") or "png")
