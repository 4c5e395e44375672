"""The values in a journal's lines: what passes for one, and numbers that JSON cannot hold."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from delve.records import Metric

# Whole numbers beyond this are not the same for every reader of JSON.
LARGEST_EPOCH = 2**53
# The year 2262 in milliseconds, where clocks that count nanoseconds end.
_LATEST = 2**63 // 1_000_000

# As JSON has no numbers for them, they are written as these texts.
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

# The same names come with every epoch.
_parse_metric = functools.lru_cache(2**15)(Metric.parse)


class WrittenNumbers(Mapping[str, float]):
    """Numbers by name that are still as they were written; each becomes a float when it is wanted.

    Most readers of a journal want the names alone, and a line has hundreds of numbers.

    Args:
        names: Their names, metrics among them as such.
        written: As many numbers.
    """

    __slots__ = ("_names", "_written")

    def __init__(self, names: Sequence[str], written: Sequence[bytes]) -> None:
        self._names = names
        self._written = written

    @property
    def names(self) -> Sequence[str]:
        """Their names, the same object for all lines that have the same."""
        return self._names

    def in_order(self) -> list[float]:
        """The numbers alone, in the order of the names."""
        return list(map(float, self._written))

    def decoded(self) -> dict[Any, float]:
        """All of them, by the names as they were given."""
        return dict(zip(self._names, map(float, self._written), strict=True))

    def __getitem__(self, name: str) -> float:
        return self.decoded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def numbers(values: Mapping[str, float | str]) -> dict[str, float]:
    """Numbers of a line by name."""
    if type(values) is WrittenNumbers:
        return values.decoded()
    return {name: _number(value) for name, value in values.items()}


def layer_metrics(values: Mapping[str, float | str]) -> dict[Metric, float]:
    """The numbers of a line whose names are those of layer metrics."""
    if type(values) is WrittenNumbers:
        return values.decoded()
    return {
        metric: value if type(value) is float else _number(value)
        for key, value in values.items()
        if (metric := _parse_metric(key)) is not None
    }


def _number(value: float | str) -> float:
    return NON_FINITE[value] if isinstance(value, str) else float(value)


def finite(value: Any) -> Any:
    """The same value with the names of numbers that are not finite, at any depth."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case Mapping():
            return {str(key): finite(item) for key, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return value


# What passes for a value in a line


def is_anything(_value: Any) -> bool:
    """Whether or not it is there, it is forgiven."""
    return True


def is_epoch(value: Any) -> bool:
    """An epoch's index."""
    return type(value) is int and 0 <= value <= LARGEST_EPOCH


def is_epoch_or_none(value: Any) -> bool:
    """An epoch's index, if any."""
    return value is None or is_epoch(value)


def is_line_number(value: Any) -> bool:
    """Which line of its journal it is, if it says so."""
    return value is None or (type(value) is int and 0 < value <= LARGEST_EPOCH)


def is_time(value: Any) -> bool:
    """Milliseconds since 1970."""
    return type(value) is int and 0 <= value <= _LATEST


def is_text_or_none(value: Any) -> bool:
    """A text, if any."""
    return value is None or is_text(value)


def is_object(value: Any) -> bool:
    """Values by name."""
    return isinstance(value, dict)


def is_text(value: Any) -> bool:
    """A text."""
    return isinstance(value, str)


def are_names(value: Any) -> bool:
    """A list of texts."""
    return isinstance(value, list) and all(map(is_text, value))


def are_names_or_none(value: Any) -> bool:
    """A list of texts, if any."""
    return value is None or are_names(value)


def are_names_by_mode_or_none(value: Any) -> bool:
    """Lists of texts by name, if any."""
    return value is None or (is_object(value) and all(map(are_names, value.values())))


def are_counts_by_name_or_none(value: Any) -> bool:
    """Whole numbers from 1 by name, if any."""
    return value is None or (
        is_object(value) and all(one and is_epoch(one) for one in value.values())
    )


def are_numbers(value: Any) -> bool:
    """Numbers by name."""
    if not isinstance(value, dict):
        return False
    values = value.values()
    return set(map(type, values)) <= {float} or all(map(_is_number, values))


def _is_number(value: Any) -> bool:
    match value:
        case float():
            return True
        case int():
            return abs(value) <= sys.float_info.max
        case _:
            return is_text(value) and value in NON_FINITE
