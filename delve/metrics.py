"""The spectrum of a layer's covariance, and the statistics that are computed from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from delve.covariance import TorchCovarianceMatrix
from delve.errors import ArgumentError
from delve.records import MODES

# Summed shares that miss the threshold by no more than float64 rounding count as reaching it.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues of one layer's covariance matrix.

    Attributes:
        eigenvalues: All ``features`` eigenvalues, falling, none below 0; NaN where the layer's
            outputs were not finite.
        samples: How many samples the covariance was taken over.
    """

    eigenvalues: np.ndarray
    samples: int

    @classmethod
    def of(cls, covariance: TorchCovarianceMatrix) -> Spectrum:
        """The spectrum of a covariance; that of the Gram matrix where samples are few."""
        rows = covariance.few_samples()
        matrix = covariance.fix() if rows is None else rows @ rows.T / len(rows)
        eigenvalues = np.zeros(covariance.features)
        if torch.isfinite(matrix).all():
            eigenvalues[: len(matrix)] = _eigenvalues(matrix)
        else:
            eigenvalues[:] = np.nan
        return cls(eigenvalues, covariance.samples)

    @property
    def features(self) -> int:
        """The dimension of the layer's output space."""
        return len(self.eigenvalues)

    @property
    def is_finite(self) -> bool:
        """False where the layer's outputs held NaN or infinity."""
        return bool(np.isfinite(self.eigenvalues).all())


def intrinsic_dimensionality(spectrum: Spectrum, threshold: float) -> float:
    """The smallest k whose k largest eigenvalues sum to ``threshold`` of the total variance.

    At least 1, also for outputs that never vary. NaN for a spectrum that is not finite.
    Source: Shenk et al., arXiv 2006.08679.
    """
    if not spectrum.is_finite:
        return float("nan")
    explained = np.cumsum(spectrum.eigenvalues)
    needed = threshold * explained[-1] * (1 - _ROUNDING)
    return float(np.searchsorted(explained, needed) + 1)


def saturation(spectrum: Spectrum, threshold: float) -> float:
    """Intrinsic dimensionality over the number of features, in (0, 1].

    Source: Shenk 2018; Richter et al., arXiv 2006.08679.
    """
    return intrinsic_dimensionality(spectrum, threshold) / spectrum.features


def _eigenvalues(matrix: torch.Tensor) -> np.ndarray:
    """Falling eigenvalues of a symmetric matrix, negative rounding set to 0."""
    try:
        values = torch.linalg.eigvalsh(matrix)
    except RuntimeError:  # a GPU's solver gives up where LAPACK does not
        values = torch.linalg.eigvalsh(matrix.cpu())
    falling: np.ndarray = values.flip(0).clamp_(min=0).cpu().numpy()
    return falling


@dataclass(frozen=True)
class Stat:
    """A statistic: what users select it by, what they see, and how it is computed."""

    key: str
    name: str
    compute: Callable[[Spectrum, float], float]


STATS = {
    stat.key: stat
    for stat in (
        Stat("lsat", "saturation", saturation),
        Stat("idim", "intrinsic-dimensionality", intrinsic_dimensionality),
    )
}

# Documented by delve 0.1 as well, and not computed yet.
_PLANNED = ("cov", "det", "trc", "dtrc", "embed", "spectrum")


@dataclass(frozen=True)
class SelectedStat:
    """A statistic as the user selected it, with the modes that it is wanted for."""

    stat: Stat
    modes: tuple[str, ...]


def select_stats(names: list[str] | tuple[str, ...]) -> list[SelectedStat]:
    """Look up what the user selected; ``lsat_eval`` keeps the evaluation alone.

    Raises:
        ArgumentError: A statistic of this name does not exist.
    """
    return [_select(name) for name in names]


def is_stat_name(name: str) -> bool:
    """Whether a statistic has this long name, as it stands in the key of a layer metric."""
    return any(name == stat.name for stat in STATS.values())


def _select(name: str) -> SelectedStat:
    key, _, mode = name.partition("_")
    if key in _PLANNED and mode in ("", *MODES):
        raise NotImplementedError(f"stats: {key!r} is not computed yet; {_choices()}")
    if key not in STATS or mode not in ("", *MODES) or name.endswith("_"):
        raise ArgumentError(f"stats: there is no statistic {name!r}; {_choices()}")
    return SelectedStat(STATS[key], (mode,) if mode else MODES)


def _choices() -> str:
    return (
        f"choose from {', '.join(STATS)}, each also with _train or _eval behind it "
        "for one mode alone"
    )
