"""The import path of the tracker in delve 0.1."""

from delve.legacy import CheckLayerSat
from delve.tracker import SaturationTracker

__all__ = ["CheckLayerSat", "SaturationTracker"]
