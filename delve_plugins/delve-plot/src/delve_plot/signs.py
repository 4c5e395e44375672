"""Signs at the left edge of a panel, for values that have no place on its axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

NEUTRAL = "0.3"  # grey of what belongs to no mode or run


def with_place(values: np.ndarray, low: float) -> np.ndarray:
    """The values, NaN for those that an axis which begins at ``low`` has no place for."""
    return np.where(np.isinf(values) | (values < low), np.nan, values)


def has_place(values: np.ndarray, low: float) -> bool:
    """Whether an axis that begins at ``low`` has a place for any of the values.

    A line without one is to be clipped: the layout makes room for it at the figure's corner.
    """
    return bool(np.isfinite(with_place(values, low)).any())


def draw_signs(
    axes: Axes,
    values: np.ndarray,
    rows: Sequence[int] | np.ndarray,
    *,
    size: float,
    colour: str = NEUTRAL,
    place: int = 0,
    at_bottom: bool = False,
) -> list[Line2D]:
    """Draw a sign for each value that has no place on the axis, whose limits are set.

    Args:
        axes: The panel.
        values: NaN where there is none, an infinity where it is not a finite number.
        rows: Where the values stand.
        size: Of a sign, in points.
        colour: Of the signs.
        place: How many others have signs at the edge already: these stand beside theirs.
        at_bottom: Whether values are along the y axis, and signs at its lower end.

    Returns:
        What was drawn, with labels that explain it.
    """
    least, _ = axes.get_ylim() if at_bottom else axes.get_xlim()
    right, up = (0, place) if at_bottom else (place, 0)
    beside = ScaledTranslation(right * size / 72, up * size / 72, axes.figure.dpi_scale_trans)
    signs: list[Line2D] = []
    for chosen, marker, label in (
        (np.isinf(values), "x", "not a finite number"),
        (np.isfinite(values) & (values < least), "v" if at_bottom else "<", "0"),
    ):
        if chosen.any():
            edge, places = np.full(chosen.sum(), least), np.asarray(rows)[chosen]
            signs += axes.plot(
                *((places, edge) if at_bottom else (edge, places)),
                color=colour,
                marker=marker,
                linestyle="none",
                markersize=size,
                clip_on=False,
                label=label,
                transform=axes.transData + beside,
            )
    return signs


def explained(lines: Iterable[Line2D]) -> list[Line2D]:
    """What explains lines that have labels: one for each label, in grey."""
    signs: dict[str, Line2D] = {}
    for line in lines:
        label = str(line.get_label())
        if not label.startswith("_"):
            sign = signs.setdefault(label, Line2D([], []))
            sign.update_from(line)
            sign.set(color=NEUTRAL, alpha=1, label=label)
    return list(signs.values())
