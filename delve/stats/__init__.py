"""The statistics of a layer: the functions, which there are, and their computation each epoch.

Public is what stands here, for authors of statistics and writers.
"""

from delve.stats.computation import is_stat_name
from delve.stats.functions import Stat

__all__ = [
    "Stat",
    "is_stat_name",
]
