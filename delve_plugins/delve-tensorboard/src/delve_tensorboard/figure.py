"""The saturation of all layers in one picture."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from delve.records import MODES, Metric

WIDTH = 7.0  # inches
DPI = 100
LONGEST_LABEL = 40  # characters

_INCHES_A_LAYER = 0.2
_MARGIN = 1.0  # inches, for title and axis
_COLOURS = {"train": "#1f77b4", "eval": "#ff7f0e"}


def saturation_figure(values: Mapping[Metric, float], order: Sequence[str], epoch: int) -> bytes:
    """Draw a bar for each layer, first layer on top, training and evaluation side by side.

    Args:
        values: The saturations of one epoch.
        order: The layers in forward order.
        epoch: For the title.

    Returns:
        A PNG file. Nothing is left behind in ``matplotlib.pyplot``, and the user's figures there
        stay as they are.
    """
    recorded = {metric.layer for metric in values}
    layers = [layer for layer in order if layer in recorded]
    modes = [mode for mode in MODES if any(metric.mode == mode for metric in values)]
    prefix = _common_prefix(layers)

    figure = Figure(figsize=(WIDTH, _MARGIN + _INCHES_A_LAYER * len(layers)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(layers))
    thickness = 0.8 / len(modes)
    for number, mode in enumerate(modes):
        axes.barh(
            places + thickness * (number - (len(modes) - 1) / 2),
            [values.get(Metric(mode, "saturation", layer), np.nan) for layer in layers],
            thickness,
            label=mode,
            color=_COLOURS[mode],
        )
    axes.set_yticks(places, [_label(layer.removeprefix(prefix)) for layer in layers], fontsize=8)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("saturation")
    axes.xaxis.grid(visible=True, alpha=0.3)
    axes.set_axisbelow(True)
    title = f"{_label(prefix)}*, epoch {epoch}" if prefix else f"epoch {epoch}"
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=10)
    figure.legend(loc="outside upper right", ncols=len(modes), frameon=False, fontsize=8)

    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI)
    return png.getvalue()


def _common_prefix(layers: Sequence[str]) -> str:
    """The outer modules that all layers are in, with the dot behind; nothing for one layer."""
    if len(layers) < 2:
        return ""
    levels = zip(*(layer.split(".")[:-1] for layer in layers), strict=False)
    shared = itertools.takewhile(lambda names: len(set(names)) == 1, levels)
    return "".join(f"{names[0]}." for names in shared)


def _label(name: str) -> str:
    """The name as it is, without what Matplotlib would take for a formula, and not too long."""
    short = name if len(name) <= LONGEST_LABEL else f"{name[:15]}…{name[-24:]}"
    return short.replace("$", r"\$")
