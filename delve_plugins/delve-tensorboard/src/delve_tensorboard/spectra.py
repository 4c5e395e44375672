"""The eigenvalues of a layer, as they are shown as a histogram."""

from __future__ import annotations

import numpy as np

from delve.base import get_logger
from delve.records import Metric, RunInfo

SPECTRUM = "spectrum"
LOG_SPECTRUM = "log10-spectrum"

logger = get_logger(__name__)


def log_spectrum(name: Metric, eigenvalues: np.ndarray) -> tuple[Metric, np.ndarray]:
    """The decimal logarithms of the eigenvalues above 0, and what they are called."""
    shown = eigenvalues[np.isfinite(eigenvalues) & (eigenvalues > 0)]
    return Metric(name.mode, LOG_SPECTRUM, name.layer), np.log10(shown)


def name_lacking(run: RunInfo) -> None:
    """Say so where histograms are wanted and the run computes no spectrum."""
    if not any(group.partition("-")[2] == SPECTRUM for group in run.arrays):
        logger.warning(
            "log_spectrum=True has nothing to show: the statistic 'spectrum' is not selected, and "
            "a replay has no arrays; give stats=['lsat', 'spectrum']"
        )
