"""From the covariances of an epoch to its metrics, and where these mislead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from delve.base.log import get_logger
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.spectrum import Spectrum
from delve.records import LayerKey, Metric
from delve.stats.functions import saturation
from delve.stats.selection import SelectedStat

logger = get_logger(__name__)


@dataclass(frozen=True)
class Results:
    """What one epoch's covariances came to.

    Attributes:
        scalars: The layer metrics that are numbers.
        arrays: Those that are arrays.
        saturations: The saturation of every layer, selected or not.
        few_samples: By mode, the layers that saw fewer samples than they have features.
        features: How many features each layer has.
    """

    scalars: dict[Metric, float] = field(default_factory=dict)
    arrays: dict[Metric, np.ndarray] = field(default_factory=dict)
    saturations: dict[LayerKey, float] = field(default_factory=dict)
    few_samples: dict[str, list[str]] = field(default_factory=dict)
    features: dict[str, int] = field(default_factory=dict)

    def average_saturation(self, mode: str) -> float | None:
        """The mean over the layers, NaN if one is; None where no layer has any."""
        values = [value for (other, _), value in self.saturations.items() if other == mode]
        return float(np.mean(values)) if values else None


class Statistics:
    """Computes the selected statistics of every layer, epoch by epoch.

    Args:
        selected: What to compute.
        threshold: The share of the variance that counts as explained.
    """

    def __init__(self, selected: Sequence[SelectedStat], threshold: float) -> None:
        self._selected = selected
        self._threshold = threshold
        self._named_as_few: set[str] = set()
        self.needs_samples = any(item.stat.needs_samples for item in selected)
        self._counts_alone = not any(item.stat.needs_eigenvalues for item in selected)
        self.array_groups = tuple(
            f"{mode}-{s.stat.name}" for s in selected if s.stat.is_array for mode in s.modes
        )
        self.arrays = tuple(dict.fromkeys(s.stat.key for s in selected if s.stat.is_array))

    def compute(self, covariances: Mapping[LayerKey, TorchCovarianceMatrix]) -> Results:
        """The metrics of each (mode, layer), in the order given, by one eigendecomposition each."""
        results = Results()
        threshold = self._threshold if self._counts_alone else None
        spectra = {
            key: Spectrum.of(covariance, self.needs_samples, threshold)
            for key, covariance in covariances.items()
        }
        for (mode, layer), spectrum in spectra.items():
            results.saturations[mode, layer] = saturation(spectrum, self._threshold)
            self._add(results, mode, layer, spectrum)
            results.features[layer] = spectrum.features
            if spectrum.samples < spectrum.features:
                results.few_samples.setdefault(mode, []).append(layer)
        self._warn_of_broken(spectra)
        self._warn_of_few(results.few_samples)
        return results

    def saturations(
        self, covariances: Mapping[LayerKey, TorchCovarianceMatrix]
    ) -> dict[LayerKey, float]:
        """The saturation of each (mode, layer) so far, without a word on where it misleads.

        An epoch that has only begun is biased low in every wide layer; what :meth:`compute` says
        of the whole epoch is not to be used up by that.
        """
        return {
            key: saturation(Spectrum.of(covariance, threshold=self._threshold), self._threshold)
            for key, covariance in covariances.items()
        }

    def _add(self, results: Results, mode: str, layer: str, spectrum: Spectrum) -> None:
        for item in self._selected:
            if mode not in item.modes:
                continue
            metric = Metric(mode, item.stat.name, layer)
            value = item.stat.compute(spectrum, self._threshold)
            if value is None:
                continue
            if item.stat.is_array:
                results.arrays[metric] = np.asarray(value)
            else:
                results.scalars[metric] = float(value)

    def _warn_of_broken(self, spectra: Mapping[LayerKey, Spectrum]) -> None:
        broken = [layer for (_, layer), spectrum in spectra.items() if not spectrum.is_finite]
        if broken:
            logger.warning(
                "outputs were not finite, so the statistics are NaN, in: %s", _listed(broken)
            )

    def _warn_of_few(self, few_samples: Mapping[str, Iterable[str]]) -> None:
        few = {layer for layers in few_samples.values() for layer in layers}
        if few - self._named_as_few:
            named = [
                f"{_listed(layer for layer in layers if layer not in self._named_as_few)} ({mode})"
                for mode, layers in few_samples.items()
                if not self._named_as_few.issuperset(layers)
            ]
            self._named_as_few |= few
            logger.warning(
                "fewer samples than features, so saturation is biased low, in: %s",
                "; ".join(named),
            )


def _listed(layers: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(layers))
