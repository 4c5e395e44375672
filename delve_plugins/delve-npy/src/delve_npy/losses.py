"""Which arrays a crash or a fault took: the journal holds no arrays, so they cannot come again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from delve.files import file_name
from delve.records import Metric, enumerate_epochs, shortened
from delve_npy.scalars import has_value


@dataclass(frozen=True)
class Expected:
    """Which arrays a process was to store.

    Attributes:
        since: From which epoch on; None where there were none.
        every: Those of every so many epochs.
        computed: What was surely computed, as ``<mode>-<stat>``.
    """

    since: int | None
    every: int = 1
    computed: tuple[str, ...] = ()

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> Expected:
        """What the writer remembered of it.

        Raises:
            ValueError: It remembered nothing of this shape: a folder may come from somebody else.
        """
        since, every = state.get("arrays_since"), state.get("every", 1)
        computed = state.get("computed", [])
        is_known = since is None or (type(since) is int and since >= 0)
        is_count = type(every) is int and every >= 1
        if not is_known or not is_count or not isinstance(computed, list):
            raise ValueError("numbers and names in other places")
        if not all(isinstance(group, str) and "/" not in group for group in computed):
            raise ValueError("names that are none")
        return cls(since, every, tuple(computed))


def lost_arrays(
    stored: Mapping[str, set[int]],
    epochs: Iterable[int],
    scalars: Mapping[str, np.ndarray],
    scalar_epochs: Iterable[int],
    computed: Iterable[str] = (),
) -> dict[str, list[int]]:
    """The epochs that a place should hold and does not.

    A layer that saw no samples in an epoch has no array of it, and none was lost. What tells is
    a scalar of the same layer and mode; where the run keeps none, an array of the same mode.

    Args:
        stored: The epochs stored, by place (``<mode>-<stat>/<layer>``).
        epochs: The epochs whose arrays were to be stored.
        scalars: Each metric's values, as the table holds them.
        scalar_epochs: The epochs of those values.
        computed: What was surely computed in those epochs, as ``<mode>-<stat>``; of all else it
            was where a place holds any of them.
    """
    wanted = set(epochs)
    seen = _epochs_with_scalars(scalars, scalar_epochs)
    by_mode: dict[str, set[int]] = {}
    for place, held in stored.items():
        by_mode.setdefault(_mode(place), set()).update(held)
    surely = {file_name(group) for group in computed}
    places = dict(stored)
    for group in surely:
        for mode, layer in seen:
            if mode == _mode(group):
                places.setdefault(f"{group}/{layer}", set())
        if not any(place.startswith(f"{group}/") for place in places):
            places[f"{group}/*"] = set()  # which layers it was of nobody knows
    lost = {}
    for place, held in places.items():
        group, layer = place.split("/")
        if held & wanted or group in surely:  # else this metric was not selected then
            in_mode = by_mode.get(_mode(place), set())
            if group in surely:  # in an epoch without any array, all are lost
                in_mode = in_mode | (wanted - set().union(*stored.values()))
            expected = seen.get((_mode(place), layer), in_mode)
            if missing := sorted((expected & wanted) - held):
                lost[place] = missing
    return lost


def describe(lost: Mapping[str, list[int]]) -> str:
    """What was lost, in one line."""
    epochs = sorted({epoch for missing in lost.values() for epoch in missing})
    return f"epochs {enumerate_epochs(epochs)} of {shortened(sorted(lost))}"


def _epochs_with_scalars(
    scalars: Mapping[str, np.ndarray], scalar_epochs: Iterable[int]
) -> dict[tuple[str, str], set[int]]:
    numbers = np.array(list(scalar_epochs), dtype=np.int64)
    seen: dict[tuple[str, str], set[int]] = {}
    for name, values in scalars.items():
        if metric := Metric.parse(name):
            key = metric.mode, file_name(metric.layer)
            seen.setdefault(key, set()).update(numbers[has_value(values)].tolist())
    return seen


def _mode(place: str) -> str:
    return place.split("-", 1)[0]
