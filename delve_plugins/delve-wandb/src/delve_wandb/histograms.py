"""The eigenvalues of each layer in one epoch, as histograms of their logarithms."""

from __future__ import annotations

import numpy as np
import wandb

from delve.base import get_logger
from delve.records import Metric, RunInfo

_SPECTRUM = "spectrum"
_LOG_SPECTRUM = "log10-spectrum"

logger = get_logger(__name__)


class Histograms:
    """Stages the histograms of an epoch."""

    def __init__(self) -> None:
        self._staged: dict[str, wandb.Histogram] = {}

    def stage(self, name: Metric, eigenvalues: np.ndarray) -> None:
        """Take a layer's spectrum; what is not above 0 has no logarithm."""
        shown = eigenvalues[np.isfinite(eigenvalues) & (eigenvalues > 0)]
        if shown.size:
            key = Metric(name.mode, _LOG_SPECTRUM, name.layer)
            self._staged[key] = wandb.Histogram(np.log10(shown).tolist())

    def take(self) -> dict[str, wandb.Histogram]:
        """What is staged, which is staged no more."""
        staged, self._staged = self._staged, {}
        return staged

    def name_lacking(self, run: RunInfo) -> None:
        """Say so where the run computes no spectrum."""
        if not any(group.partition("-")[2] == _SPECTRUM for group in run.arrays):
            logger.warning(
                "log_spectrum=True has nothing to show: the statistic 'spectrum' is not selected, "
                "and a replay has no arrays; give stats=['lsat', 'spectrum']"
            )
