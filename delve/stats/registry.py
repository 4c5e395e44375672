"""Which statistics there are: those that come with Delve, and those that others have installed.

Everyone who asks what a name means asks here. A *key* is what the tracker's ``stats`` takes
(``lsat``), a *long name* stands in the keys of metrics (``saturation``). A statistic of somebody
else is an entry point of the group ``delve.stats``, called by its key. Its long name stands in its
code alone: that is imported where it is selected or asked for by its key, and where a long name
turns up that no statistic known so far has, but never to look up what comes with Delve.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import EntryPoint

from delve.base import entry_points
from delve.base.log import get_logger
from delve.errors import ArgumentError, DelveError
from delve.records import MODES
from delve.stats.blind_spots import HEALTH
from delve.stats.built_in import BOUNDS, BUILT_IN
from delve.stats.stat import Stat

GROUP = "delve.stats"  # of the entry points by which others add a statistic

# Names that stand for several: all numbers of Delve's own, and those that each run can afford.
SETS = {
    "all": tuple(dict.fromkeys(stat.key for stat in BUILT_IN if not stat.is_array)),
    "health": HEALTH,
}

_BY_NAME = {stat.name: stat for stat in (*BUILT_IN, *BOUNDS)}
_EIGENVALUE = re.compile(r"spectrum-([1-9][0-9]*)")

logger = get_logger(__name__)


def split_mode(name: str) -> tuple[str, str | None]:
    """``lsat_eval`` as ``lsat`` and ``eval``; None where no mode stands behind the name."""
    base, _, mode = name.rpartition("_")
    return (base, mode) if mode in MODES else (name, None)


def keys() -> tuple[str, ...]:
    """What can be selected here, Delve's own first; nothing is imported."""
    return tuple(dict.fromkeys([*(stat.key for stat in BUILT_IN), *installed_keys()]))


def installed_keys() -> tuple[str, ...]:
    """What others have installed; nothing is imported."""
    return tuple(sorted(entry_points.offers(GROUP)))


def set_of(key: str) -> tuple[str, ...]:
    """The keys that the name of a set stands for; none where it is no such name."""
    return SETS.get(key, ())


def long_names() -> tuple[str, ...]:
    """Those of what comes with Delve, and of what was imported of others."""
    return (*_BY_NAME, *_installed.loaded)


def number_keys() -> tuple[str, ...]:
    """Of what comes with Delve, that which gives numbers: what journals hold."""
    return tuple(dict.fromkeys(stat.key for stat in BUILT_IN if not stat.is_array))


def stats_of_key(key: str) -> tuple[Stat, ...]:
    """The statistics that a key selects; none where there is no such key.

    Raises:
        ArgumentError: The installed one is no statistic, or is called as one of Delve's.
        WriterConflictError: Two distributions offer it.
        WriterLoadError: The one that offers it cannot be imported.
    """
    built_in = tuple(stat for stat in BUILT_IN if stat.key == key)
    if built_in:
        return built_in
    entry_point = entry_points.find(GROUP, key)
    return () if entry_point is None else (_loaded(entry_point),)


def find_stat(name: str) -> Stat | None:
    """The statistic of this long name, None where none is known here.

    What is installed and cannot be used is passed over: a journal can be read without it.
    """
    return _BY_NAME.get(name) or _installed.find(name)


def is_stat_name(name: str) -> bool:
    """Whether a statistic that is known here has this long name, as layer metrics bear it."""
    return eigenvalue_rank(name) is not None or find_stat(name) is not None


def long_name_of(key: str) -> str:
    """The long name that a key stands for; a long name, and what is unknown, stays as it is.

    Raises:
        DelveError: As ``stats_of_key``.
    """
    if key in _BY_NAME:
        return key
    stats = stats_of_key(key)
    return stats[0].name if stats else key


def key_of(name: str) -> str:
    """The key that a long name is selected by, else the long name; nothing is imported."""
    stat = _BY_NAME.get(name) or _installed.loaded.get(name)
    return stat.key if stat else name


def eigenvalue_rank(name: str) -> int | None:
    """The place of an eigenvalue in the spectrum, from 1, by its long name; None for all else."""
    match = _EIGENVALUE.fullmatch(name)
    return int(match[1]) if match else None


class _Installed:
    """The statistics of others, by long name, as far as they had to be imported.

    Attributes:
        loaded: Those imported so far.
    """

    def __init__(self) -> None:
        self.loaded: dict[str, Stat] = {}
        self._path: tuple[str, ...] | None = None  # sys.path when all was looked through

    def find(self, name: str) -> Stat | None:
        """The one of this long name; those that may be it by their key are imported first."""
        if name not in self.loaded and self._path != (path := tuple(sys.path)):
            offers = entry_points.offers(GROUP)
            alike = [key for key in offers if _hyphened(key) == name]
            if not self._load(alike, name):
                self._load([key for key in offers if key not in alike], name)
                if name not in self.loaded:
                    self._path = path
        return self.loaded.get(name)

    def _load(self, keys: Iterable[str], name: str) -> bool:
        """Import statistics until one has the long name."""
        for key in keys:
            try:
                stats_of_key(key)
            except DelveError as error:
                logger.debug("looking for a statistic %r: passed over: %s", name, error)
            if name in self.loaded:
                return True
        return False


_installed = _Installed()


def _loaded(entry_point: EntryPoint) -> Stat:
    key = entry_point.name
    stat = entry_points.load(entry_point, "statistic")
    owner = f"stats: the entry point {key!r} of the group {GROUP}"
    if not isinstance(stat, Stat):
        raise ArgumentError(f"{owner} is not a delve.stats.Stat")
    if stat.name in _BY_NAME or eigenvalue_rank(stat.name) is not None:
        raise ArgumentError(
            f"{owner} has the long name {stat.name!r}, which is one of Delve's own; its author "
            "has to choose another"
        )
    stat = replace(stat, key=key)  # by which users select it, whatever it calls itself
    _installed.loaded[stat.name] = stat
    return stat


def _hyphened(key: str) -> str:
    return key.lower().replace("_", "-")
