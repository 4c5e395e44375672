"""Hooks on the tracked layers, and the covariance that each gathers in each mode."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from delve.activations import SamplingMethods, samples
from delve.covariance import TorchCovarianceMatrix
from delve.metrics import Spectrum

logger = logging.getLogger(__name__)


class LayerRecorder:
    """Gathers the covariance of each layer's outputs, in training and in evaluation apart.

    Nothing is set on the modules but forward hooks, which :meth:`remove_hooks` takes away.

    Args:
        layers: The tracked modules by name.
        methods: How outputs become samples.
        device: Where to accumulate; None stays on the device of the activations.
        order: Names of layers whose forward order is known from an earlier part of the run.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        methods: SamplingMethods,
        device: torch.device | str | None = None,
        order: tuple[str, ...] = (),
    ) -> None:
        self._names = tuple(layers)
        self._order = dict.fromkeys(name for name in order if name in layers)
        self._methods = methods
        self._device = device
        self._covariances: dict[tuple[str, str], TorchCovarianceMatrix] = {}
        self._hooks = [
            layer.register_forward_hook(_Hook(self, name)) for name, layer in layers.items()
        ]

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers in the order of their first calls; those not called yet come last."""
        return tuple(dict.fromkeys((*self._order, *self._names)))

    def record(self, name: str, layer: nn.Module, output: Any) -> None:
        """Add one forward pass of a layer."""
        self._order.setdefault(name)
        key = ("train" if layer.training else "eval", name)
        if key not in self._covariances:
            self._covariances[key] = TorchCovarianceMatrix(device=self._device)
        with torch.no_grad():
            self._covariances[key].update(samples(layer, output, self._methods))

    def spectra(self) -> dict[tuple[str, str], Spectrum]:
        """The spectrum of each (mode, layer) that saw samples, in forward order."""
        spectra = {
            key: _spectrum(covariance)
            for mode in ("train", "eval")
            for name in self.layers
            if (covariance := self._covariances.get(key := (mode, name))) and covariance.samples
        }
        broken = dict.fromkeys(
            name for (_, name), spectrum in spectra.items() if not spectrum.is_finite
        )
        if broken:
            logger.warning(
                "outputs were not finite, so the statistics are NaN, in: %s", ", ".join(broken)
            )
        return spectra

    def reset(self) -> None:
        """Forget all samples."""
        self._covariances.clear()

    def remove_hooks(self) -> None:
        """Leave the modules as they were found."""
        for hook in self._hooks:
            hook.remove()


class _Hook:
    """One layer's forward hook. A copied or pickled model gets an inert one in its place."""

    def __init__(self, recorder: LayerRecorder, name: str) -> None:
        self._recorder = recorder
        self._name = name

    def __call__(self, layer: nn.Module, _inputs: Any, output: Any) -> None:
        self._recorder.record(self._name, layer, output)

    def __reduce__(self) -> tuple[Any, ...]:
        # Takes three arguments, does nothing and returns None, as an inert hook must; and it comes
        # with Python, so that a saved model can be loaded where there is no Delve.
        return getattr, (contextlib.nullcontext(), "__exit__")


def _spectrum(covariance: TorchCovarianceMatrix) -> Spectrum:
    matrix = covariance.fix()
    if torch.isfinite(matrix).all():
        eigenvalues = torch.linalg.eigvalsh(matrix).flip(0).clamp_(min=0).cpu().numpy()
    else:
        eigenvalues = np.full(len(matrix), np.nan)
    return Spectrum(eigenvalues, covariance.samples)
