"""What each statistic is called in a figure, and the range that it is drawn in."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

_WIDE = 1e3  # times the smallest value: from there on the scale is logarithmic
_EIGENVALUE = re.compile(r"spectrum-(\d+)")

SATURATION = "saturation"
SPECTRUM = "spectrum"

_WORDS = {
    SATURATION: ("Saturation", "saturation = intrinsic dimensionality / features"),
    "intrinsic-dimensionality": (
        "Intrinsic dimensionality",
        "intrinsic dimensionality (dimensions)",
    ),
    "covariance-determinant": ("Generalised variance", "determinant of the covariance matrix"),
    "covariance-trace": ("Total variance", "trace of the covariance matrix"),
    "diagonal-trace": ("Total variance", "sum of the eigenvalues of the covariance matrix"),
    SPECTRUM: ("Largest eigenvalues", "eigenvalues of the covariance matrix (variance)"),
}


def title_of(stat: str) -> str:
    """A statistic's name as it stands above a figure."""
    return _WORDS[stat][0] if stat in _WORDS else stat.replace("-", " ").capitalize()


def label_of(stat: str) -> str:
    """The label of an axis that shows the statistic: what it is, and its unit."""
    return _WORDS[stat][1] if stat in _WORDS else stat.replace("-", " ")


def figure_of(stat: str) -> str:
    """The figure that shows a statistic: the largest eigenvalues share one."""
    return SPECTRUM if _EIGENVALUE.fullmatch(stat) else stat


def rank_of(stat: str) -> int:
    """The place of an eigenvalue in the spectrum, from 1; 1 for any other statistic."""
    match = _EIGENVALUE.fullmatch(stat)
    return int(match[1]) if match else 1


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
    """The scale that a statistic's values are shown on: 0 to 1 for saturation."""
    finite = values[np.isfinite(values)]
    if not finite.size or not finite.any():
        return Scale(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if stat == SATURATION:
        return Scale(min(0.0, low), max(1.0, high))
    positive = finite[finite > 0]
    if low >= 0 and high > _WIDE * float(positive.min()):
        return Scale(float(positive.min()), high, logarithmic=True)
    return Scale(min(0.0, low), max(0.0, high))
