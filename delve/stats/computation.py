"""From the covariances of an epoch to its metrics, and where these mislead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from delve.base.log import get_logger
from delve.numerics.accumulator import Accumulator
from delve.numerics.company import Company
from delve.numerics.decomposition import spectrum_of
from delve.numerics.sketched_spectrum import SketchedSpectrum
from delve.numerics.spectrum import Spectrum
from delve.numerics.workers import one_a_thread
from delve.records import LayerKey, Metric
from delve.stats.built_in import BOUNDS
from delve.stats.functions import saturation
from delve.stats.selection import SelectedStat
from delve.stats.stat import Stat

_TRAIN_TRACE = "train-trace"  # what a statistic needs that compares the modes

logger = get_logger(__name__)


@dataclass(frozen=True)
class Results:
    """What one epoch's covariances came to.

    Attributes:
        scalars: The layer metrics that are numbers.
        arrays: Those that are arrays.
        saturations: The saturation of every layer, if it was selected or is shown.
        few_samples: By mode, the layers that saw fewer samples than they have features.
        broken: The layers whose outputs were not finite.
        features: How many features each layer has.
    """

    scalars: dict[Metric, float] = field(default_factory=dict)
    arrays: dict[Metric, np.ndarray] = field(default_factory=dict)
    saturations: dict[LayerKey, float] = field(default_factory=dict)
    few_samples: dict[str, list[str]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    features: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_all(cls, parts: Iterable[Results], order: Sequence[LayerKey]) -> Results:
        """What several processes have computed, each of layers of its own, in this order."""
        whole, place = cls(), {key: number for number, key in enumerate(order)}
        for part in parts:
            whole.scalars.update(part.scalars)
            whole.arrays.update(part.arrays)
            whole.saturations.update(part.saturations)
            whole.features.update(part.features)
            whole.broken.extend(part.broken)
            for mode, layers in part.few_samples.items():
                whole.few_samples.setdefault(mode, []).extend(layers)
        for mode, layers in whole.few_samples.items():
            layers.sort(key=lambda layer, mode=mode: place[mode, layer])  # type: ignore[misc]
        metrics = sorted(whole.scalars, key=lambda metric: place[metric.mode, metric.layer])
        return replace(
            whole,
            scalars={metric: whole.scalars[metric] for metric in metrics},
            saturations={key: whole.saturations[key] for key in order if key in whole.saturations},
        )

    def average_saturation(self, mode: str) -> float | None:
        """The mean over the layers, NaN if one is; None where no layer has any."""
        values = [value for (other, _), value in self.saturations.items() if other == mode]
        return float(np.mean(values)) if values else None


class Statistics:
    """Computes the selected statistics of every layer, epoch by epoch.

    Args:
        selected: What to compute.
        threshold: The share of the variance that counts as explained.
        shows_saturation: Whether each layer's saturation is wanted, selected or not.

    Attributes:
        gathers: What has to be gathered beside the covariances.
    """

    def __init__(
        self, selected: Sequence[SelectedStat], threshold: float, shows_saturation: bool = True
    ) -> None:
        self._selected = selected
        self._shows_saturation = shows_saturation or any(
            item.stat.key == "lsat" or item.stat.needs_eigenvalues for item in selected
        )
        self.gathers = frozenset(need for item in selected for need in item.stat.gathers)
        self._threshold = threshold
        self._bounds: dict[str, list[Stat]] = {}  # by the name of what they are the ends of
        for bound in BOUNDS:
            self._bounds.setdefault(bound.bounds, []).append(bound)
        self._metric = lru_cache(maxsize=None)(Metric)  # the same ones epoch by epoch
        self._named_as_few: set[str] = set()
        self._left_out: dict[str, dict[str, None]] = {}  # by layer: keys of statistics
        self._named_as_left_out: set[str] = set()
        self.needs_samples = any(item.stat.needs_samples for item in selected)
        self._counts_alone = not any(item.stat.needs_eigenvalues for item in selected)
        # Each process can compute a part: nothing large comes of it, nor is needed beside the sums.
        self.can_be_dealt = "half" not in self.gathers and not any(
            item.stat.is_array or item.stat.needs_samples for item in selected
        )
        self.array_groups = tuple(
            f"{mode}-{s.stat.name}" for s in selected if s.stat.is_array for mode in s.modes
        )
        self.arrays = tuple(dict.fromkeys(s.stat.key for s in selected if s.stat.is_array))

    def compute(
        self,
        covariances: Mapping[LayerKey, Accumulator],
        company: Mapping[LayerKey, Company] | None = None,
        consume: bool = False,
    ) -> Results:
        """The metrics of each (mode, layer), in the order given, by one eigendecomposition each.

        Args:
            covariances: What was gathered, by mode, training first, and layer.
            company: What else is known of the layers.
            consume: Whether their own sums may be read in place. They stay whole: an interrupt may
                come in, and the row is then computed again.
        """
        results = self.compute_quietly(covariances, company, consume)
        self.warn(results)
        return results

    def compute_quietly(
        self,
        covariances: Mapping[LayerKey, Accumulator],
        company: Mapping[LayerKey, Company] | None = None,
        consume: bool = False,
    ) -> Results:
        """As :meth:`compute`, but :meth:`warn` is left to do."""
        results = Results()
        threshold = self._threshold if self._counts_alone else None
        traces: dict[str, float] = {}  # in training

        def beside(key: LayerKey) -> Company:
            return (company or {}).get(key, Company())

        def decomposed(key: LayerKey) -> Spectrum:
            spectrum = spectrum_of(
                covariances[key], self.needs_samples, threshold, consume, beside(key)
            )
            if self._shows_saturation:
                spectrum.decompose()
            return spectrum

        # One without samples was given back by a reduction that was interrupted.
        whole = {key: one for key, one in covariances.items() if one.samples}
        spectra = one_a_thread(decomposed, whole)
        for (mode, layer), spectrum in zip(whole, spectra, strict=True):
            if mode == "train" and _TRAIN_TRACE in self.gathers:
                traces[layer] = spectrum.trace
            elif layer in traces:
                spectrum.know_training(traces[layer])
            if self._shows_saturation:
                results.saturations[mode, layer] = saturation(spectrum, self._threshold)
            self._add(results, mode, layer, spectrum)
            results.features[layer] = spectrum.features
            if spectrum.samples < spectrum.features:
                results.few_samples.setdefault(mode, []).append(layer)
            if not spectrum.is_finite:
                results.broken.append(layer)
        return results

    def warn(self, results: Results) -> None:
        """Say where results mislead, or are lacking."""
        self._warn_of_broken(results.broken)
        self._warn_of_left_out()
        self._warn_of_few(results.few_samples)

    def saturations(self, covariances: Mapping[LayerKey, Accumulator]) -> dict[LayerKey, float]:
        """The saturation of each (mode, layer) so far, without a word on where it misleads.

        An epoch that has only begun is biased low in every wide layer; what :meth:`compute` says
        of the whole epoch is not to be used up by that.
        """
        return {
            key: saturation(spectrum_of(covariance, threshold=self._threshold), self._threshold)
            for key, covariance in covariances.items()
        }

    def _add(self, results: Results, mode: str, layer: str, spectrum: Spectrum) -> None:
        for item in self._selected:
            if mode not in item.modes:
                continue
            # Whether a spectrum has bounds alone may take its decomposition to know.
            needs_it = item.stat.needs_eigenvalues or item.stat.is_array
            if needs_it and spectrum.bounds is not None:
                self._left_out.setdefault(layer, {})[item.stat.key] = None
                continue
            value = item.stat.compute(spectrum, self._threshold)
            if value is None:
                if isinstance(spectrum, SketchedSpectrum) and not item.stat.gathers:
                    self._left_out.setdefault(layer, {})[item.stat.key] = None
                continue
            metric = self._metric(mode, item.stat.name, layer)
            if item.stat.is_array:
                results.arrays[metric] = np.asarray(value)
            else:
                results.scalars[metric] = float(value)
            if item.stat.name not in self._bounds or spectrum.bounds is None:
                continue
            for bound in self._bounds[item.stat.name]:
                end = bound.compute(spectrum, self._threshold)
                if end is not None:
                    results.scalars[Metric(mode, bound.name, layer)] = float(end)

    def _warn_of_left_out(self) -> None:
        """Say once for each layer what a sketch does not tell."""
        new = [layer for layer in self._left_out if layer not in self._named_as_left_out]
        self._named_as_left_out.update(new)
        if new:
            keys = dict.fromkeys(key for layer in new for key in self._left_out[layer])
            logger.warning(
                "gathered by sketch, so that %s cannot be told of: %s; exact=[...] or a larger "
                "memory_limit has them gathered exactly",
                ", ".join(keys),
                _listed(new),
            )

    def _warn_of_broken(self, broken: Sequence[str]) -> None:
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
