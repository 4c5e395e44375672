"""One epoch: the embedded samples of each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from delve_plot.names import short_names
from delve_plot.style import COLOURS, FONT_SIZE, MAX_HEIGHT, name_figure, plain

_PANEL = 1.9  # inches
_NARROWEST = 3.4
_LEFT, _TOP, _BOTTOM = 0.8, 0.95, 0.6  # inches, for titles and labels
_MOST_COLUMNS = 10
_MANY = 49


def scatter_figure(
    samples: Mapping[str, np.ndarray],
    *,
    mode: str = "train",
    epoch: int | None = None,
    fontsize: float = FONT_SIZE,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw each layer's samples in the plane of its two leading eigenvectors.

    Args:
        samples: By layer in forward order, (samples x 2) each.
        mode: Stands in the title, and chooses the colour.
        epoch: Stands in the title.
        fontsize: Of titles, in points.
        figsize: Width and height in inches; by default as large as the layers need.

    Returns:
        A figure of its own, unknown to pyplot; panels stand in forward order, line by line.
    """
    layers = list(samples)
    columns = min(math.ceil(math.sqrt(len(layers))), _MOST_COLUMNS) or 1
    lines = math.ceil(len(layers) / columns) or 1
    width, height = figsize or (
        max(columns * _PANEL, _NARROWEST) + _LEFT,
        min(lines * _PANEL, MAX_HEIGHT) + _TOP + _BOTTOM,
    )
    figure = Figure(figsize=(width, height))
    # Placed by hand: Matplotlib's own layout takes 10 s for 200 panels.
    places = {
        "left": _LEFT / width,
        "right": 1 - 0.1 / width,
        "top": 1 - _TOP / height,
        "bottom": _BOTTOM / height,
        "wspace": 0.35,
        "hspace": 0.45,
    }
    panels = figure.subplots(lines, columns, squeeze=False, gridspec_kw=places).ravel()
    names = _titles(short_names(layers))
    for axes, name, layer in zip(panels, names, layers, strict=False):
        _draw_samples(axes, samples[layer], COLOURS[mode])
        plain(axes.set_title(name, fontsize=0.7 * fontsize))
        axes.tick_params(labelsize=0.6 * fontsize)
        if len(layers) > _MANY:  # numbers on each would take most of the time, and be too small
            axes.set(xticks=[], yticks=[])
    for axes in panels[len(layers) :]:
        axes.set_visible(False)
    figure.supxlabel("first principal component", fontsize=fontsize)
    figure.supylabel("second principal component", fontsize=fontsize)
    when = "" if epoch is None else f", epoch {epoch}"
    name_figure(figure, f"Embedded samples, {mode}{when}", layers, fontsize)
    return figure


def _draw_samples(axes: Axes, points: np.ndarray, colour: str) -> None:
    finite = points[np.isfinite(points).all(axis=1)]
    axes.plot(
        finite[:, 0],
        finite[:, 1],
        color=colour,
        marker=".",
        markersize=3,
        markeredgewidth=0,
        alpha=0.5,
        linestyle="none",
    )
    axes.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.6, zorder=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.locator_params(nbins=3)
    axes.spines[["top", "right"]].set_visible(False)


def _titles(names: Sequence[str]) -> list[str]:
    """Names broken into lines that a panel is wide enough for."""
    return ["\n".join(name[i : i + 22] for i in range(0, len(name), 22)) for name in names]
