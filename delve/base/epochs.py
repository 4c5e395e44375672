"""Epochs: many of them, searched quickly, and said in few words."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence


class Epochs(tuple[int, ...]):
    """Rising epochs: a tuple in which one is found as quickly as in a set."""

    __slots__ = ()

    def __contains__(self, epoch: object) -> bool:
        try:
            place = bisect.bisect_left(self, epoch)  # type: ignore[call-overload]
        except TypeError:  # no number
            return False
        return self[place : place + 1] == (epoch,)


def enumerate_epochs(numbers: Sequence[int]) -> str:
    """``[0, 1, 2, 5]`` as ``0-2, 5``."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return enumerate_spans(spans)


def enumerate_spans(spans: Iterable[tuple[int, int]]) -> str:
    """``[(0, 2), (5, 5)]``, the first and last of each, as ``0-2, 5``."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def counted_epochs(numbers: Sequence[int]) -> str:
    """Rising epochs with the word before them: ``epoch 2`` or ``epochs 0-2, 5``."""
    return f"epoch{'s' if len(numbers) > 1 else ''} {enumerate_epochs(numbers)}"
