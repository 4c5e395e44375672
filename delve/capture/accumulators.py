"""What samples of each layer are added to: an exact covariance, or a sketch of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from delve.base.log import get_logger
from delve.capture.memory import MemoryPlan
from delve.numerics.accumulator import Accumulator, sketch_of
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.directions import Directions
from delve.numerics.memory import is_out_of_memory
from delve.numerics.sketch import Sketch
from delve.records import MODES, LayerKey

logger = get_logger(__name__)


class Accumulators:
    """The accumulators of the epoch under way, by mode and layer.

    A layer's sketches of both modes have the same directions, so that they add up. These are
    renewed when the samples of an epoch are dropped: they then follow its range.

    Args:
        plan: Which layers are sketched.
        device: Where to accumulate; None stays on the device of the activations.
        keep_samples: Whether to keep the first samples themselves.
    """

    def __init__(self, plan: MemoryPlan, device: torch.device | None, keep_samples: bool) -> None:
        self._plan = plan
        self._device = device
        self._keep_samples = keep_samples
        self._all: dict[LayerKey, Accumulator] = {}
        self._directions: dict[str, Directions] = {}
        self._found: dict[str, Directions] = {}  # for the time when all samples are dropped
        self._named: set[str] = set()  # layers for which memory was not enough

    def __contains__(self, key: LayerKey) -> bool:
        return key in self._all

    def __getitem__(self, key: LayerKey) -> Accumulator:
        return self._all[key]

    def add(self, key: LayerKey, rows: Tensor) -> None:
        """Take in samples; where memory is not enough, the layer goes on as a sketch.

        Raises:
            Exception: They are no samples, or there is no memory for a sketch either.
        """
        accumulator = self._of(key, rows)
        try:
            accumulator.update(rows)
        except Exception as error:
            if isinstance(accumulator, Sketch) or not is_out_of_memory(error):
                raise
        else:
            return
        self._give_way(key, accumulator, rows)

    def pop(self, key: LayerKey) -> None:
        """Forget what there is of a layer in a mode."""
        self._all.pop(key, None)

    def drop(self, layer: str) -> None:
        """Forget a layer that is no longer tracked."""
        for mode in MODES:
            self._all.pop((mode, layer), None)
        self._directions.pop(layer, None)

    def clear(self) -> None:
        """Forget all samples; sketches look along what they have found from now on."""
        for layer, found in self._found.items():
            self._directions[layer] = found
            self._plan.set_columns(layer, found.features, found.columns)
        self._found.clear()
        self._all.clear()

    def follow(self, gathered: Mapping[LayerKey, Accumulator]) -> None:
        """Look along the ranges that sketches have found, once their samples are dropped."""
        for mode in reversed(MODES):  # those of training go before those of evaluation
            for (other, layer), one in gathered.items():
                if other == mode and isinstance(one, Sketch) and one.following is not None:
                    self._found[layer] = one.following

    def items(self) -> Iterable[tuple[LayerKey, Accumulator]]:
        """All of them, by key."""
        return self._all.items()

    def state_dict(self) -> dict[str, Any]:
        """The directions of sketches, of tensors and plain values; what was gathered is apart."""
        return {layer: one.state_dict() for layer, one in self._directions.items()}

    def load_state_dict(self, state: Mapping[str, Any], names: Iterable[str]) -> None:
        """Go on from a :meth:`state_dict`, of the layers of these names alone."""
        self._all = {}
        self._directions = {
            layer: Directions.from_state_dict(one) for layer, one in state.items() if layer in names
        }
        for layer, one in self._directions.items():
            self._plan.set_columns(layer, one.features, one.columns)

    def load(self, key: LayerKey, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` of an accumulator gave."""
        if state.get("sketched"):
            self._all[key] = Sketch.from_state_dict(state, self._directions[key[1]])
            return
        covariance = TorchCovarianceMatrix(device=self._device, save_data=self._keep_samples)
        covariance.load_state_dict(state)
        self._all[key] = covariance

    def _of(self, key: LayerKey, rows: Tensor) -> Accumulator:
        if key not in self._all:
            device = self._device or rows.device
            features = rows.shape[-1]
            columns = self._plan.columns_of(key[1], features, device)
            if columns:
                self._all[key] = Sketch(self._directions_of(key[1], features, columns, device))
            else:
                self._all[key] = TorchCovarianceMatrix(
                    device=self._device, save_data=self._keep_samples
                )
        return self._all[key]

    def _directions_of(
        self, layer: str, features: int, columns: int, device: torch.device
    ) -> Directions:
        held = self._directions.get(layer)
        if held is None or held.features != features:
            device = torch.device("cpu") if device.type == "mps" else device  # has no float64
            held = Directions.random(features, columns, device)
        self._directions[layer] = held.to(device)
        return self._directions[layer]

    def _give_way(self, key: LayerKey, covariance: TorchCovarianceMatrix, rows: Tensor) -> None:
        """Go on as a sketch in both modes, with the samples that are in, and those that are not."""
        mode, layer = key
        features, device = rows.shape[-1], covariance.device or rows.device
        waiting, is_whole = covariance.waiting, covariance.is_whole
        columns = self._plan.columns_in_need(features)
        self._plan.set_columns(layer, features, columns)
        directions = self._directions_of(layer, features, columns, device)
        sketch = Sketch(directions)
        is_whole = is_whole and _converted(covariance, sketch)
        covariance.clear()
        if not is_whole:
            sketch = Sketch(directions)
        self._all[key] = sketch
        if layer not in self._named:
            self._named.add(layer)
            lost = "" if is_whole else "; its samples of this epoch so far are lost"
            logger.warning(
                "there was no memory left for the covariance of layer %s (%d features), so it is "
                "gathered by sketch from now on (%s)%s; sketch=[%r] does so from the first pass",
                layer,
                features,
                mode,
                lost,
                layer,
            )
        flat = rows.reshape(-1, features)
        sketch.update(flat[len(flat) - waiting :] if is_whole else flat)


def _converted(covariance: TorchCovarianceMatrix, sketch: Sketch) -> bool:
    """Add what was gathered exactly to a sketch; whether there was memory for that."""
    try:
        sketch_of(covariance, sketch)
    except Exception as error:
        if is_out_of_memory(error):
            return False
        raise
    return True
