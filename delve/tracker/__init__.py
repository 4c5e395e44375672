"""The tracker, and the checks of its arguments."""

from delve.tracker.tracker import SaturationTracker

__all__ = ["SaturationTracker"]
