"""What everything else stands on: text, loggers, signals, checks of values, entry points.

Public is what stands here.
"""

from delve.base.log import get_logger

__all__ = [
    "get_logger",
]
