"""Delve in a training loop of Accelerate's."""

from delve_accelerate.earlier import resume_loggers
from delve_accelerate.loop import LoopTracker, track

__version__ = "1.0.0"

__all__ = ["LoopTracker", "resume_loggers", "track"]
