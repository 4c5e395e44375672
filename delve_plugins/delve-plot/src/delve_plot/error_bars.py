"""Error bars of layers that were gathered by sketch: from the least to the most a value can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from delve.records import Metric

ENDS = ("low", "high")


def error_bars(
    values: Mapping[Metric, float], stat: str, rows: Sequence[str], mode: str
) -> np.ndarray:
    """The ends of each row's bar, (2 x rows), NaN where it has none.

    Args:
        values: The layer metrics of one epoch.
        stat: The statistic's long name.
        rows: The layers, as they stand in the figure.
        mode: The mode.
    """
    return np.array(
        [
            [values.get(Metric(mode, f"{stat}-{end}", layer), np.nan) for layer in rows]
            for end in ENDS
        ],
        dtype=np.float64,
    ).reshape(2, len(rows))


def draw_error_bars(axes: Axes, ends: np.ndarray, colour: str, size: float) -> None:
    """Draw them behind the dots.

    Args:
        axes: The panel.
        ends: As :func:`error_bars` gives them.
        colour: Of the bars.
        size: Of their caps, in points.
    """
    rows = np.flatnonzero(np.isfinite(ends).all(axis=0))
    if not len(rows):
        return
    low, high = ends[:, rows]
    middle = (low + high) / 2
    axes.errorbar(
        middle,
        rows,
        xerr=(high - low) / 2,
        fmt="none",
        ecolor=colour,
        elinewidth=1.2,
        capsize=0.6 * size,
        alpha=0.6,
        zorder=2,
    )
    axes.plot(
        [],
        [],
        color=colour,
        linewidth=1.2,
        marker="|",
        label="the exact value lies within (gathered by sketch)",
    )
