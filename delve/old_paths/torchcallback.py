"""The import path of the tracker in delve 0.1."""

from delve.tracker.legacy import CheckLayerSat
from delve.tracker.tracker import SaturationTracker

__all__ = ["CheckLayerSat", "SaturationTracker"]
