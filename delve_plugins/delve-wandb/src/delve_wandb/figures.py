"""The saturation of all layers in one epoch, as a picture."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import wandb
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from delve.records import MODES, Metric

STAT = "saturation"
KEY = f"figures/{STAT}"

_INCHES_A_LAYER = 0.17
_SHARE = 0.05  # of the run's time that goes into drawing
_GREATEST_HEIGHT = 600.0  # inches; the renderer draws at most 65,536 pixels
_WIDTH = 7.0  # inches
_COLOURS = dict(zip(MODES, ("tab:blue", "tab:orange"), strict=True))


class Pictures:
    """Draws as often as leaves 95 % of the time to the run."""

    def __init__(self) -> None:
        self._due = 0.0

    def of_epoch(
        self, row: Mapping[str, Any], layers: Sequence[str], epoch: int
    ) -> dict[str, wandb.Image]:
        """What to log beside a row: one picture, or nothing."""
        begun = time.monotonic()
        if begun < self._due:
            return {}
        metrics = {name: value for name, value in row.items() if isinstance(name, Metric)}
        pixels = saturation_picture(metrics, layers, epoch)
        if pixels is None:
            return {}
        picture = wandb.Image(pixels)
        ended = time.monotonic()
        self._due = ended + (ended - begun) / _SHARE
        return {KEY: picture}


def saturation_picture(
    metrics: Mapping[Metric, float], layers: Sequence[str], epoch: int
) -> np.ndarray | None:
    """Layers downwards in forward order, saturation to the right.

    Returns RGBA pixels, (height x width x 4) uint8; None where no layer has a saturation.
    """
    values = {
        (metric.mode, metric.layer): value
        for metric, value in metrics.items()
        if metric.stat == STAT
    }
    shown = [layer for layer in layers if any((mode, layer) in values for mode in MODES)]
    if not shown:
        return None
    height = min(1.5 + _INCHES_A_LAYER * len(shown), _GREATEST_HEIGHT)
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for mode in MODES:
        points = [values.get((mode, layer), np.nan) for layer in shown]
        if not np.isnan(points).all():
            axes.plot(points, range(len(shown)), "o-", ms=3, lw=1, color=_COLOURS[mode], label=mode)
    _label(axes, shown, epoch)
    figure.legend(loc="outside lower right", ncols=2, fontsize=7)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def _label(axes: Any, layers: Sequence[str], epoch: int) -> None:
    prefix = _common_prefix(layers)
    axes.set_title(f"Saturation in epoch {epoch}" + (f", layers of {prefix}" if prefix else ""))
    axes.set_yticks(range(len(layers)), [name.removeprefix(prefix) for name in layers], fontsize=7)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("saturation")
    axes.grid(alpha=0.3)


def _common_prefix(layers: Sequence[str]) -> str:
    """What all names begin with, up to a dot; nothing for a single layer."""
    if len(layers) < 2:
        return ""
    first, last = min(layers), max(layers)
    same = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
    return first[: first.rfind(".", 0, same) + 1]
