"""The statistics that a user selects, each with the modes that it is wanted for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from delve.errors import ArgumentError
from delve.records import MODES
from delve.stats.registry import (
    SETS,
    key_of,
    keys,
    long_names,
    set_of,
    split_mode,
    stats_of_key,
)
from delve.stats.stat import Stat

_ALIKE = 0.6  # difflib's ratio from which a name is taken for a misspelt one


@dataclass(frozen=True)
class SelectedStat:
    """A statistic as the user selected it, with the modes that it is wanted for."""

    stat: Stat
    modes: tuple[str, ...]


def select_stats(names: Iterable[str], layerwise_saturation: bool = True) -> list[SelectedStat]:
    """Look up what the user selected, each statistic once; ``lsat_eval`` keeps evaluation alone.

    Args:
        names: Keys of statistics or of sets of them, with or without a mode behind an underscore.
        layerwise_saturation: False leaves each layer's saturation out.

    Raises:
        ArgumentError: A statistic of this name does not exist, or two have the same long name.
        WriterConflictError: Two distributions offer it.
        WriterLoadError: The one that offers it cannot be imported.
    """
    modes: dict[Stat, set[str]] = {}
    for name in names:
        for item in _select(name):
            modes.setdefault(item.stat, set()).update(item.modes)
    _refuse_same_names(modes)
    return [
        SelectedStat(stat, tuple(mode for mode in MODES if mode in wanted))
        for stat, wanted in modes.items()
        if layerwise_saturation or stat.key != "lsat"
    ]


def _select(name: str) -> list[SelectedStat]:
    if not isinstance(name, str):
        raise ArgumentError(f"stats: {name!r} is not the name of a statistic; {_choices()}")
    key, mode = split_mode(name)
    stats = [stat for one in set_of(key) for stat in stats_of_key(one) if not stat.is_array]
    stats = stats or list(stats_of_key(key))
    if not stats:
        raise ArgumentError(f"stats: there is no statistic {name!r}{_meant(name)}; {_choices()}")
    return [SelectedStat(stat, (mode,) if mode else MODES) for stat in stats]


def _meant(name: str) -> str:
    """What was probably meant: a long name, a key or a set, in other letters or misspelt."""
    meant = {_plain(long): key for long in long_names() if (key := key_of(long)) in keys()}
    meant |= {_plain(key): key for key in (*SETS, *keys())}
    wanted = _plain(name)
    if "-" in wanted:
        meant |= {f"{one}-{mode}": f"{key}_{mode}" for one, key in meant.items() for mode in MODES}
    close = difflib.get_close_matches(wanted, meant, n=1, cutoff=_ALIKE)
    return f"; did you mean {meant[close[0]]!r}?" if close else ""


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _refuse_same_names(stats: Iterable[Stat]) -> None:
    keys_by_name: dict[str, str] = {}
    for stat in stats:
        other = keys_by_name.setdefault(stat.name, stat.key)
        if other != stat.key:
            raise ArgumentError(
                f"stats: {other!r} and {stat.key!r} have the same long name, {stat.name!r}, so "
                "one would overwrite the other; select one of them"
            )


def _choices() -> str:
    return (
        f"choose from {', '.join(keys())}, or the sets {' and '.join(SETS)}, each also with _train "
        "or _eval for one mode alone"
    )
