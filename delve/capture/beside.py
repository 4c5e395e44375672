"""What is gathered beside the covariances, where a selected statistic asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from delve.capture.activations import SamplingMethods, is_convolution
from delve.capture.layer_types import samples_of
from delve.capture.masks import Mask
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.tallies import Count, Maximum, PositiveSum, SequenceSpread
from delve.records import LayerKey

Tally = Count | Maximum | PositiveSum | SequenceSpread

HALF = "half"
_TALLIES: dict[str, Callable[[], Tally]] = {
    "maximum": Maximum,
    "positive": PositiveSum,
    "spread": SequenceSpread,
    "masked": Count,
}


GATHERED = frozenset({HALF, *_TALLIES})


class Beside:
    """Small sums of each layer's samples, and the covariance of every second batch.

    Args:
        wanted: What is gathered: ``maximum``, ``positive``, ``spread``, ``masked``, ``half``.

    Attributes:
        wanted: What is gathered.
        tallies: The sums, by what they are of and (mode, layer).
        halves: The covariances of every second batch.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self.wanted = frozenset(wanted)
        self.tallies: dict[tuple[str, LayerKey], Tally] = {}
        self.halves: dict[LayerKey, TorchCovarianceMatrix] = {}
        self._is_next_left_out: dict[LayerKey, bool] = {}  # of the halves

    @property
    def gathers_halves(self) -> bool:
        """Whether every second batch is gathered by itself."""
        return HALF in self.wanted

    def take(self, key: LayerKey, rows: Tensor, new_half: Callable[[], Any] | None) -> None:
        """Take in the samples of one output, (samples x features) or (batch x positions x ...).

        Args:
            key: The mode of the pass and the layer's name.
            rows: The samples.
            new_half: Makes an empty covariance; None for a layer that is too wide for one.
        """
        for name in ("maximum", "positive"):
            if name in self.wanted:
                tally = self._tally(name, key)
                assert isinstance(tally, Maximum | PositiveSum)
                tally.update(rows.detach())
        if new_half is None:
            self.halves.pop(key, None)
        elif HALF in self.wanted:
            if not self._is_next_left_out.get(key, False):
                self.halves.setdefault(key, new_half()).update(rows)
            self._is_next_left_out[key] = not self._is_next_left_out.get(key, False)

    def take_series(
        self,
        key: LayerKey,
        layer: nn.Module,
        output: Any,
        methods: SamplingMethods,
        mask: Mask | None,
    ) -> None:
        """Take in the sequences of one output, if it is any: (batch x time x features)."""
        if not isinstance(output, Tensor) or output.is_nested:
            return
        if mask is not None and mask.covers_rows(output) and not is_convolution(layer):
            self._count_padding(key, mask)
        if output.dim() != 3 or is_convolution(layer):
            return
        if mask is not None and not hasattr(layer, "batch_first"):
            output = mask.batch_first(output)
        if mask is not None and mask.covers(output):
            self._count_padding(key, mask)
        if "spread" not in self.wanted:
            return
        series = samples_of(layer, output, replace(methods, timeseries="timestepwise", mask=None))
        if series.dim() == 3 and not is_convolution(layer):
            is_known = mask is not None and series.shape[:2] == mask.real.shape
            tally = self._tally("spread", key)
            assert isinstance(tally, SequenceSpread)
            tally.update(series.detach(), mask.real if mask is not None and is_known else None)

    def of_layer(self, key: LayerKey) -> dict[str, Any]:
        """What there is of a layer, by the names that :class:`Company` has for it."""
        parts: dict[str, Any] = {name: self.tallies.get((name, key)) for name in _TALLIES}
        return {HALF: self.halves.get(key), **parts}

    def forget(self, key: LayerKey | None = None) -> None:
        """Drop what there is of a layer in a mode, or of all."""
        if key is None:
            self.tallies.clear()
            self.halves.clear()
            self._is_next_left_out.clear()
            return
        for name in _TALLIES:
            self.tallies.pop((name, key), None)
        self.halves.pop(key, None)
        self._is_next_left_out.pop(key, None)

    def tally_states(self) -> list[list[Any]]:
        """The small sums alone, of tensors and plain values."""
        return [[name, *key, tally.state_dict()] for (name, key), tally in self.tallies.items()]

    def merge_tallies(self, states: Iterable[Any]) -> None:
        """Add small sums of samples that were seen elsewhere: :meth:`tally_states` of there."""
        for name, mode, layer, state in states:
            other = _TALLIES[name]()
            other.load_state_dict(state)
            mine: Any = self._tally(name, (mode, layer))
            mine.merge(other)

    def state_dict(self) -> dict[str, Any]:
        """What was gathered so far, of tensors and plain values."""
        return {
            "tallies": self.tally_states(),
            "halves": [[*key, half.state_dict()] for key, half in self.halves.items()],
            "left_out_next": [[*key, turn] for key, turn in self._is_next_left_out.items()],
        }

    def load_state_dict(
        self, state: Mapping[str, Any], known: set[str], new_half: Callable[[], Any]
    ) -> None:
        """Go on from a :meth:`state_dict`, of the layers of these names alone."""
        self.forget()
        tallies = [one for one in state["tallies"] if one[2] in known and one[0] in self.wanted]
        self.merge_tallies(tallies)  # also where several processes have counted the same layer
        if HALF not in self.wanted:
            return
        for mode, layer, half_state in state["halves"]:
            if layer in known:
                half = new_half()
                half.load_state_dict(half_state)
                if (mode, layer) not in self.halves:
                    self.halves[mode, layer] = half
                elif half.samples:  # of another process
                    self.halves[mode, layer].merge_moments(half.moments())
        self._is_next_left_out = {
            (mode, layer): turn for mode, layer, turn in state["left_out_next"] if layer in known
        }

    def _count_padding(self, key: LayerKey, mask: Mask) -> None:
        if "masked" in self.wanted:
            count = self._tally("masked", key)
            assert isinstance(count, Count)
            count.update(mask.padding)

    def _tally(self, name: str, key: LayerKey) -> Tally:
        if (name, key) not in self.tallies:
            self.tallies[name, key] = _TALLIES[name]()
        return self.tallies[name, key]
