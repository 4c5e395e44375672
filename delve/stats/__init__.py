"""The statistics of a layer: the functions, which there are, and their computation each epoch.

Public is what stands here, for authors of statistics and writers.
"""

from delve.stats.registry import (
    eigenvalue_rank,
    find_stat,
    is_stat_name,
    key_of,
    long_name_of,
    split_mode,
)
from delve.stats.stat import Stat, in_words

__all__ = [
    "Stat",
    "eigenvalue_rank",
    "find_stat",
    "in_words",
    "is_stat_name",
    "key_of",
    "long_name_of",
    "split_mode",
]
