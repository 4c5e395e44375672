"""What each statistic is called in a figure, and the range that it is drawn in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from delve.stats import eigenvalue_rank, find_stat, in_words

_WIDE = 1e3  # times the smallest value: from there on the scale is logarithmic

SPECTRUM = "spectrum"


def title_of(stat: str) -> str:
    """A statistic's name as it stands above a figure."""
    known = find_stat(stat)
    return known.title if known else in_words(stat).capitalize()


def label_of(stat: str) -> str:
    """The label of an axis that shows the statistic: what it is, and its unit."""
    known = find_stat(stat)
    return known.label if known else in_words(stat)


def is_share(stat: str) -> bool:
    """Whether its values are shares, from 0 to 1, as saturation's are."""
    known = find_stat(stat)
    return known is not None and known.is_share


def figure_of(stat: str) -> str:
    """The figure that shows a statistic: the largest eigenvalues share one.

    The ends between which another statistic lies are drawn in that one's.
    """
    if eigenvalue_rank(stat) is not None:
        return SPECTRUM
    known = find_stat(stat)
    return known.bounds if known and known.bounds else stat


def rank_of(stat: str) -> int:
    """The place of an eigenvalue in the spectrum, from 1; 1 for any other statistic.

    0 for an end between which another lies: it has no place of its own.
    """
    return eigenvalue_rank(stat) or int(figure_of(stat) == stat)


@dataclass(frozen=True)
class Scale:
    """The range of an axis or of colours.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        logarithmic: Whether equal steps are equal ratios.
    """

    low: float
    high: float
    logarithmic: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of an axis, with room beyond the values."""
        if self.logarithmic:
            return self.low / 1.5, self.high * 1.5
        if (self.low, self.high) == (0.0, 1.0):
            return 0.0, 1.0
        room = 0.04 * (self.high - self.low)
        return self.low - (room if self.low < 0 else 0), self.high + room


def scale_of(stat: str, values: np.ndarray) -> Scale:
    """The scale that a statistic's values are shown on: 0 to 1 for a share."""
    finite = values[np.isfinite(values)]
    if not finite.size or not finite.any():
        return Scale(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if is_share(stat):
        return Scale(min(0.0, low), max(1.0, high))
    least = float(finite[finite > 0].min(initial=np.inf))
    known = find_stat(stat)
    wish = known.scale if known else "auto"
    is_wished = wish == "log" or (wish == "auto" and high > _WIDE * least)
    if low >= 0 and is_wished:
        return Scale(least, high, logarithmic=True)
    return Scale(min(0.0, low), max(0.0, high))
