"""What a statistic is: how it is selected, computed, explained and drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:  # with PyTorch, which the command does without
    from delve.numerics.spectrum import Spectrum

Scale = Literal["auto", "linear", "log"]

_NAME_FORM = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Stat:
    """A statistic: what users select it by, what they see, and how it is computed.

    All from ``is_array`` on may be left out.

    Attributes:
        key: The name in the tracker's ``stats``. Several statistics may share one.
        name: The long name in the keys of metrics, of lower-case letters, digits and hyphens.
        compute: Takes the spectrum and the threshold; returns a number (or an array, where
            ``is_array``), or None where the layer has none.
        is_array: Whether it gives an array, for writers that can store one.
        needs_samples: Whether the first samples and the leading eigenvectors are needed.
        needs_eigenvalues: False if it reads no more off the eigenvalues than the intrinsic
            dimensionality, which can then be had in less time, or none at all.
        summary: What it is, in one line of help.
        title: What stands above a figure of it; by default the long name in words.
        label: What stands at an axis of it, with its unit; by default the long name in words.
        source: The paper that defines it.
        limits: The ends that no layer's value lies beyond. One from 0 to 1 is a share: it is shown
            in percent, and its axis goes from 0 to 1.
        is_bounded_by_samples: Whether it is low, whatever the layer does, where samples are fewer
            than features, so that people are told of those layers.
        is_bounded_by_features: Whether no value is above the number of the layer's features.
        scale: Of its axis: ``linear``, ``log``, or ``auto``, which is logarithmic where the values
            go over several powers of ten.
        bounds: The long name of the statistic that this one is an end of, between which and the
            other end its value lies; it is drawn as an error bar there.
        gathers: What it needs beside the covariance; for Delve's own.

    Raises:
        ValueError: The long name, the limits or the scale cannot be.
    """

    key: str
    name: str
    compute: Callable[[Spectrum, float], float | np.ndarray | None]
    is_array: bool = False
    needs_samples: bool = False
    needs_eigenvalues: bool = True
    summary: str = ""
    title: str = ""
    label: str = ""
    source: str = ""
    limits: tuple[float, float] = (-math.inf, math.inf)
    is_bounded_by_samples: bool = False
    is_bounded_by_features: bool = False
    scale: Scale = "auto"
    bounds: str = ""
    gathers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME_FORM.fullmatch(self.name):
            raise ValueError(
                f"the long name of a statistic is of lower-case letters, digits and hyphens, not "
                f"{self.name!r}"
            )
        if not self.limits[0] < self.limits[1]:
            raise ValueError(f"{self.name}: limits go from a lower end up, not {self.limits}")
        if self.scale not in get_args(Scale):
            raise ValueError(
                f"{self.name}: the scale is one of {', '.join(get_args(Scale))}, not {self.scale!r}"
            )
        words = in_words(self.name)
        object.__setattr__(self, "title", self.title or words.capitalize())
        object.__setattr__(self, "label", self.label or words)

    @property
    def is_share(self) -> bool:
        """Whether its values are shares, from 0 to 1."""
        return self.limits == (0, 1)


def in_words(name: str) -> str:
    """A long name as people write it: ``effective rank``."""
    return name.replace("-", " ")
