"""What is gathered of the layers' outputs: a covariance for each mode and layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from delve.capture.accumulators import Accumulators
from delve.capture.activations import SamplingMethods
from delve.capture.beside import Beside
from delve.capture.layer_types import samples_of
from delve.capture.masks import Mask
from delve.capture.memory import MemoryPlan
from delve.capture.sample_limit import SampleLimit, SampleQuota
from delve.numerics.accumulator import Accumulator
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.layouts import Layouts
from delve.records import MODES, LayerKey


@dataclass(frozen=True)
class Gathering:
    """How much is gathered, and where.

    Attributes:
        methods: How outputs become samples.
        device: Where to accumulate; None stays on the device of the activations.
        interval: Use every so many calls of each layer.
        limit: How many samples are taken per layer, mode and epoch. Each process of
            ``torch.distributed`` counts its own.
        keep_samples: Whether to keep the first samples themselves.
        plan: Which layers are gathered by sketch.
        beside: What is gathered beside the covariances, if anything is.
        fields: By layer, the share of the image that its input sees, where that is known.
    """

    methods: SamplingMethods = field(default_factory=SamplingMethods)
    device: torch.device | None = None
    interval: int = 1
    limit: SampleLimit = field(default_factory=SampleLimit)
    keep_samples: bool = False
    plan: MemoryPlan = field(default_factory=MemoryPlan)
    beside: Beside | None = None
    fields: Mapping[str, float] = field(default_factory=dict)


class Gatherer:
    """The covariances of the epoch under way.

    Args:
        gathering: How much is gathered, and where.
        layouts: How outputs are spread over processes.
    """

    def __init__(self, gathering: Gathering, layouts: Layouts | None = None) -> None:
        self._gathering = gathering
        self.layouts = layouts or Layouts()
        self._covariances = Accumulators(gathering.plan, gathering.device, gathering.keep_samples)
        self._calls: Counter[LayerKey] = Counter()
        self._fresh: Counter[LayerKey] = Counter()  # samples since the last statistics
        self._quota = SampleQuota(gathering.limit)
        self._spoiled: dict[LayerKey, None] = {}  # until then, by an output that was no sample
        # Until the mask of the pass proves to fit.
        self._held_back: list[tuple[LayerKey, Tensor]] = []

    @property
    def spoiled(self) -> set[str]:
        """The layers that have given something else than samples since the last statistics."""
        return {layer for _, layer in self._spoiled}

    def add(self, key: LayerKey, layer: nn.Module, output: Any, mask: Mask | None = None) -> None:
        """Take in one output of a layer, if its samples are wanted.

        Args:
            key: The mode of the pass and the layer's name.
            layer: The layer.
            output: What it returned.
            mask: Which positions of the pass are real, where it is known.

        Raises:
            Exception: It cannot be turned into samples, for whatever reason a function has that a
                user has registered; see :meth:`spoil`.
        """
        if not self._is_turn(key):
            return
        # All processes that share the output come here, whatever else they have of the layer.
        part = self.layouts.here(key[1], layer, output)
        is_elsewhere = part is None and output is not None
        is_wanted = self._quota.wants(key, self._fresh[key])
        if key in self._spoiled or not is_wanted or is_elsewhere:
            return
        if isinstance(part, Tensor) and not part.numel():
            return
        methods, beside = self._gathering.methods, self._gathering.beside
        if mask is None:
            self._take(key, samples_of(layer, part, methods))
            if beside is not None:
                beside.take_series(key, layer, part, methods, None)
            return
        rows = _checked(samples_of(layer, part, replace(methods, mask=mask)))
        if mask.is_in_doubt:
            # A copy: what the layer returned may be changed in place before the pass has ended.
            self._held_back.append((key, rows.clone()))
        else:
            self.release()
            self._take(key, rows)
            if beside is not None:
                beside.take_series(key, layer, part, methods, mask)

    def release(self, drop: bool = False) -> None:
        """Take in what was held back, in its order, or drop it."""
        held, self._held_back = self._held_back, []
        for key, rows in () if drop else held:
            if key not in self._spoiled:
                self._take(key, rows)

    def spoil(self, key: LayerKey) -> None:
        """Leave a layer out until the next statistics: what there is of it is not the whole."""
        self._spoiled[key] = None
        self._covariances.pop(key)
        self._forget_beside(key)
        del self._fresh[key]

    def fresh(self, order: Iterable[str]) -> dict[LayerKey, Accumulator]:
        """What saw new samples since the last statistics, by mode and in the order of layers."""
        names = tuple(order)
        return {
            key: self._covariances[key]
            for mode in MODES
            for name in names
            if (key := (mode, name)) in self._fresh
        }

    def held(self, keys: Iterable[LayerKey] | None = None) -> dict[LayerKey, Accumulator]:
        """Of these, or of all, what was gathered at all, also if statistics were taken since."""
        wanted = [key for key, _ in self._covariances.items()] if keys is None else keys
        return {key: self._covariances[key] for key in wanted if key in self._covariances}

    def follow_ranges(self, gathered: Mapping[LayerKey, Accumulator]) -> None:
        """Have sketches look along what those of all processes have found."""
        self._covariances.follow(gathered)

    def mark_used(self, forget: bool) -> None:
        """The statistics were taken; drop the samples too, where ``forget`` says so."""
        self._fresh.clear()
        self._quota.next_epoch()
        self._spoiled.clear()
        if forget:
            self._covariances.clear()
            self._forget_beside()

    def drop(self, layer: str) -> None:
        """Forget a layer that is no longer tracked."""
        self._covariances.drop(layer)
        for mode in MODES:
            self._forget_beside((mode, layer))
            self._quota.drop((mode, layer))
            del self._fresh[mode, layer]

    def state_dict(self) -> dict[str, Any]:
        """What was gathered so far, of tensors and plain values."""
        beside = self._gathering.beside
        return {
            **({} if beside is None else {"beside": beside.state_dict()}),
            "layouts": self.layouts.state_dict(),
            "left_out": [list(key) for key in self._spoiled],
            "quota": self._quota.state_dict(),
            "calls": [[*key, calls] for key, calls in self._calls.items()],
            "directions": self._covariances.state_dict(),
            "covariances": [
                [*key, self._fresh[key], covariance.state_dict()]
                for key, covariance in self._covariances.items()
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any], names: Iterable[str]) -> None:
        """Go on from a :meth:`state_dict`, of the layers of these names alone."""
        known = set(names)
        if "layouts" in state:  # earlier builds knew of none
            self.layouts.load_state_dict(state["layouts"])
        self._spoiled = dict.fromkeys(
            (mode, name) for mode, name in _keys(state.get("left_out", ())) if name in known
        )
        self._calls = Counter({(mode, name): calls for mode, name, calls in state["calls"]})
        self._quota.load_state_dict(state.get("quota", ()), known)
        self._covariances.load_state_dict(state.get("directions", {}), known)
        self._fresh = Counter()
        for mode, name, fresh, covariance_state in state["covariances"]:
            if name in known:
                self._covariances.load((mode, name), covariance_state)
                if fresh:
                    self._fresh[mode, name] = fresh
        if self._gathering.beside is not None and "beside" in state:
            self._gathering.beside.load_state_dict(state["beside"], known, self._new_covariance)

    def _is_turn(self, key: LayerKey) -> bool:
        """Count a call of a layer, and tell whether it is one of those that are used."""
        self._calls[key] += 1
        return (self._calls[key] - 1) % self._gathering.interval == 0

    def _take(self, key: LayerKey, rows: Tensor) -> None:
        if not _checked(rows).numel():
            return
        rows = self._quota.rows_of(key, rows, self._fresh[key])
        if not rows.numel():
            return
        self._covariances.add(key, rows)
        self._fresh[key] += rows.numel() // rows.shape[-1]
        if self._gathering.beside is not None:
            is_exact = isinstance(self._covariances[key], TorchCovarianceMatrix)
            self._gathering.beside.take(key, rows, self._new_covariance if is_exact else None)

    def _new_covariance(self) -> TorchCovarianceMatrix:
        return TorchCovarianceMatrix(device=self._gathering.device)

    def _forget_beside(self, key: LayerKey | None = None) -> None:
        if self._gathering.beside is not None:
            self._gathering.beside.forget(key)


def _checked(rows: Tensor) -> Tensor:
    if not rows.is_floating_point() or rows.dim() not in (2, 3):
        raise TypeError("samples are rows of floating-point numbers")
    return rows


def _keys(left_out: Iterable[Any]) -> list[LayerKey]:
    """The keys in a state; earlier builds left layers out in both modes, and named them alone."""
    keys: list[LayerKey] = []
    for entry in left_out:
        keys.extend([(mode, entry) for mode in MODES] if isinstance(entry, str) else [tuple(entry)])
    return keys
