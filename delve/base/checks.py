"""Checks of values that arguments share: counts and shares."""

from __future__ import annotations

import numbers
from typing import Any

from delve.errors import ArgumentError


def check_count(name: str, value: Any) -> int:
    """A number of things, at least 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < 1:
        raise ArgumentError(f"{name} must be a whole number of at least 1, not {value!r}")
    return int(value)


def check_share(name: str, value: Any) -> float:
    """A share of the variance, given as the argument of this name.

    Raises:
        ArgumentError: It is no number in (0, 1].
    """
    if not isinstance(value, numbers.Real) or not 0 < float(value) <= 1:
        raise ArgumentError(f"{name} must be in (0, 1], for example 0.99, not {value!r}")
    return float(value)
