"""Delve shows people who train neural networks what their layers are doing."""

from delve.covariance import TorchCovarianceMatrix
from delve.errors import DelveError
from delve.hookspecs import hookimpl
from delve.legacy import CheckLayerSat
from delve.records import HeldEpoch, Metric, RunInfo
from delve.tracker import SaturationTracker

__version__ = "1.0.0"

__all__ = [
    "CheckLayerSat",
    "DelveError",
    "HeldEpoch",
    "Metric",
    "RunInfo",
    "SaturationTracker",
    "TorchCovarianceMatrix",
    "hookimpl",
]
