"""The import path of the statistics in delve 0.1, and of ``Stat`` in the first builds of 1.0."""

from delve.stats.built_in import BUILT_IN as STATS
from delve.stats.functions import (
    compute_cov_determinant,
    compute_cov_trace,
    compute_diag_trace,
    compute_intrinsic_dimensionality,
    compute_saturation,
)
from delve.stats.stat import Stat

__all__ = [
    "STATS",
    "Stat",
    "compute_cov_determinant",
    "compute_cov_trace",
    "compute_diag_trace",
    "compute_intrinsic_dimensionality",
    "compute_saturation",
]
