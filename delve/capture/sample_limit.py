"""How many samples of a layer are enough: ``max_samples``, and which ones of an epoch they are."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from delve.base.checks import check_count
from delve.errors import ArgumentError
from delve.records import LayerKey

# Fewer rows of a batch are not worth a call: they wait for a later one.
_LEAST_ROWS = 16
_PORTIONS = 8  # that an epoch's samples are taken in, at least


@dataclass(frozen=True)
class SampleLimit:
    """What the user allows, per layer, mode and epoch.

    Attributes:
        most: So many samples, which are the first ones; None: no limit, or one by features.
        per_feature: So many times as many as a layer has features, spread over the epoch.
    """

    most: int | None = None
    per_feature: float | None = None

    @classmethod
    def of(cls, given: Any) -> SampleLimit:
        """From what the user gave: None, a number, or a text such as ``8d``.

        Raises:
            ArgumentError: It is none of these.
        """
        if given is None:
            return cls()
        if not isinstance(given, str):
            return cls(check_count("max_samples", given))
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*d\s*", given)
        if match and float(match[1]) > 0:
            return cls(None, float(match[1]))
        raise ArgumentError(
            "max_samples must be a whole number of at least 1, or times the features of each "
            f"layer, as in '8d', not {given!r}"
        )


class SampleQuota:
    """Which rows are taken of each output, so that the limit is kept.

    Where it goes by features, the rows are spread evenly over the batches of an epoch, and over
    the rows of each batch. How many batches an epoch has is known from the last one: in the first,
    it is the first samples that are taken.

    Args:
        limit: What the user allows. Each process counts its own.
    """

    def __init__(self, limit: SampleLimit) -> None:
        self._limit = limit
        self._calls: Counter[LayerKey] = Counter()  # in this epoch
        self._last_calls: dict[LayerKey, int] = {}
        self._shapes: dict[LayerKey, tuple[int, int]] = {}  # rows and features of its outputs

    def wants(self, key: LayerKey, taken: int) -> bool:
        """Count an output of a layer, and tell whether any of its rows is wanted.

        Args:
            key: The mode of the pass and the layer's name.
            taken: How many samples were taken since the epoch began.
        """
        self._calls[key] += 1
        if self._limit.most is not None:
            return taken < self._limit.most
        if self._limit.per_feature is None or key not in self._shapes:
            return True
        return self._due(key, taken) > 0

    def rows_of(self, key: LayerKey, rows: Tensor, taken: int) -> Tensor:
        """The rows of an output that are wanted, of (..., features)."""
        if self._limit == SampleLimit():
            return rows
        features, count = rows.shape[-1], rows.numel() // rows.shape[-1]
        if self._limit.most is not None:
            left = self._limit.most - taken
            return rows if count <= left else rows.reshape(-1, features)[: max(left, 0)]
        self._shapes[key] = count, features
        due = self._due(key, taken)
        if count <= due:
            return rows
        if key not in self._last_calls:
            return rows.reshape(-1, features)[:due]
        wanted = (torch.arange(due, device=rows.device) * count + count // 2) // max(due, 1)
        # One at a time: feature maps come as views, which are not to be copied whole.
        return rows[torch.unravel_index(wanted, rows.shape[:-1])]

    def next_epoch(self) -> None:
        """The statistics were taken."""
        self._last_calls |= self._calls
        self._calls.clear()

    def drop(self, key: LayerKey) -> None:
        """Forget a layer that is no longer tracked, or left out."""
        for held in (self._calls, self._last_calls, self._shapes):
            held.pop(key, None)

    def state_dict(self) -> list[list[Any]]:
        """What :meth:`load_state_dict` goes on from, of plain values."""
        keys = dict.fromkeys([*self._calls, *self._last_calls])
        return [
            [*key, self._calls[key], self._last_calls.get(key, 0), *self._shapes.get(key, ())]
            for key in keys
        ]

    def load_state_dict(self, state: Iterable[Any], known: set[str]) -> None:
        """Go on from a :meth:`state_dict`, of the layers of these names alone."""
        self._calls, self._last_calls, self._shapes = Counter(), {}, {}
        for mode, name, calls, last, *shape in state:
            if name not in known:
                continue
            self._calls[mode, name] = calls
            if last:
                self._last_calls[mode, name] = last
            if shape:
                self._shapes[mode, name] = shape[0], shape[1]

    def _due(self, key: LayerKey, taken: int) -> int:
        """How many rows are wanted by now that were not taken."""
        assert self._limit.per_feature is not None
        rows, features = self._shapes[key]
        whole = math.ceil(self._limit.per_feature * features)
        if key not in self._last_calls:
            return max(whole - taken, 0)
        calls, last = self._calls[key], self._last_calls[key]
        portion = min(_LEAST_ROWS, rows, max(1, whole // _PORTIONS))
        # Where portions take several calls, half of one early: else all would come late.
        early = max(portion - whole // last, 0) // 2
        by_now = min(whole, whole * calls // last + early)
        due = max(by_now - taken, 0)
        return due if due >= portion or calls >= last else 0
