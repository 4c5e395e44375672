"""From the covariances of an epoch to its metrics: which statistics, and where they mislead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from delve.base import entry_points as plugins
from delve.base.log import get_logger
from delve.errors import ArgumentError
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.spectrum import Spectrum
from delve.records import MODES, Metric
from delve.stats.functions import STATS, Stat, saturation

GROUP = "delve.stats"  # of the entry points by which others add a statistic

Key = tuple[str, str]  # mode, layer

logger = get_logger(__name__)


@dataclass(frozen=True)
class SelectedStat:
    """A statistic as the user selected it, with the modes that it is wanted for."""

    stat: Stat
    modes: tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """What one epoch's covariances came to.

    Attributes:
        scalars: The layer metrics that are numbers.
        arrays: Those that are arrays.
        saturations: The saturation of every layer, selected or not.
        few_samples: By mode, the layers that saw fewer samples than they have features.
    """

    scalars: dict[Metric, float] = field(default_factory=dict)
    arrays: dict[Metric, np.ndarray] = field(default_factory=dict)
    saturations: dict[Key, float] = field(default_factory=dict)
    few_samples: dict[str, list[str]] = field(default_factory=dict)

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

    def compute(self, covariances: Mapping[Key, TorchCovarianceMatrix]) -> Results:
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
            if spectrum.samples < spectrum.features:
                results.few_samples.setdefault(mode, []).append(layer)
        self._warn_of_broken(spectra)
        self._warn_of_few(results.few_samples)
        return results

    def saturations(self, covariances: Mapping[Key, TorchCovarianceMatrix]) -> dict[Key, float]:
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

    def _warn_of_broken(self, spectra: Mapping[Key, Spectrum]) -> None:
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


def select_stats(names: Iterable[str], layerwise_saturation: bool = True) -> list[SelectedStat]:
    """Look up what the user selected, each statistic once; ``lsat_eval`` keeps evaluation alone.

    Args:
        names: Keys of statistics, with or without a mode behind an underscore.
        layerwise_saturation: False leaves each layer's saturation out.

    Raises:
        ArgumentError: A statistic of this name does not exist.
        WriterConflictError: Two distributions offer it.
        WriterLoadError: The one that offers it cannot be imported.
    """
    modes: dict[Stat, set[str]] = {}
    for name in names:
        for item in _select(name):
            modes.setdefault(item.stat, set()).update(item.modes)
    return [
        SelectedStat(stat, tuple(mode for mode in MODES if mode in wanted))
        for stat, wanted in modes.items()
        if layerwise_saturation or stat.key != "lsat"
    ]


def is_stat_name(name: str) -> bool:
    """Whether a statistic of ours has this long name, as it stands in a layer metric's key."""
    return any(name == stat.name for stat in STATS)


def _select(name: str) -> list[SelectedStat]:
    if not isinstance(name, str):
        raise ArgumentError(f"stats: {name!r} is not the name of a statistic; {_choices()}")
    key, _, mode = name.rpartition("_")
    if mode not in MODES:
        key, mode = name, ""
    stats = [stat for stat in STATS if stat.key == key] or _from_elsewhere(key)
    if not stats:
        raise ArgumentError(f"stats: there is no statistic {name!r}; {_choices()}")
    return [SelectedStat(stat, (mode,) if mode else MODES) for stat in stats]


def _from_elsewhere(key: str) -> list[Stat]:
    entry_point = plugins.find(GROUP, key)
    if entry_point is None:
        return []
    stat = plugins.load(entry_point, "statistic")
    if not isinstance(stat, Stat):
        raise ArgumentError(
            f"stats: the entry point {key!r} of the group {GROUP} is not a delve.stats.Stat"
        )
    return [stat]


def _choices() -> str:
    keys = dict.fromkeys(stat.key for stat in STATS)
    return f"choose from {', '.join(keys)}, each also with _train or _eval for one mode alone"


def _listed(layers: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(layers))
