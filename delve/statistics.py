"""From the covariances of an epoch to its layer metrics, with a word where they mislead."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from delve.covariance import TorchCovarianceMatrix
from delve.metrics import SelectedStat, Spectrum
from delve.records import Metric

Key = tuple[str, str]  # mode, layer

logger = logging.getLogger(__name__)


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

    def compute(self, covariances: Mapping[Key, TorchCovarianceMatrix]) -> dict[Metric, float]:
        """The metrics of each (mode, layer), in the order given."""
        spectra = {key: Spectrum.of(covariance) for key, covariance in covariances.items()}
        self._warn_of_broken(spectra)
        self._warn_of_few(spectra)
        return {
            Metric(mode, item.stat.name, layer): item.stat.compute(spectrum, self._threshold)
            for (mode, layer), spectrum in spectra.items()
            for item in self._selected
            if mode in item.modes
        }

    def _warn_of_broken(self, spectra: Mapping[Key, Spectrum]) -> None:
        broken = [layer for (_, layer), spectrum in spectra.items() if not spectrum.is_finite]
        if broken:
            logger.warning(
                "outputs were not finite, so the statistics are NaN, in: %s", _listed(broken)
            )

    def _warn_of_few(self, spectra: Mapping[Key, Spectrum]) -> None:
        few = [
            layer
            for (_, layer), spectrum in spectra.items()
            if spectrum.samples < spectrum.features and layer not in self._named_as_few
        ]
        if few:
            self._named_as_few.update(few)
            logger.warning(
                "fewer samples than features, so saturation is biased low, in: %s", _listed(few)
            )


def _listed(layers: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(layers))
