"""Which statistics of a run are looked at: by long or short name, with or without a mode."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from delve.errors import ArgumentError
from delve.files.array_layout import array_folder, array_group
from delve.journal.stored_run import StoredRun
from delve.records import MODES
from delve.stats.registry import find_stat, key_of, long_name_of, split_mode, stats_of_key
from delve.stats.stat import Stat

SATURATION = "saturation"


@dataclass(frozen=True)
class Choice:
    """A statistic, and the modes that it is wanted for.

    Attributes:
        stat: Its long name.
        modes: Some of ``train`` and ``eval``.
    """

    stat: str
    modes: tuple[str, ...] = MODES


def recorded_stats(run: StoredRun) -> dict[str, tuple[str, ...]]:
    """The modes of each statistic that the run's epochs hold, by long name in first-seen order."""
    return run.overview.stats


def choose_stats(run: StoredRun, wanted: Sequence[str]) -> list[Choice]:
    """The statistics wanted; saturation, else the first one, by default.

    Args:
        run: The run.
        wanted: Long names, or the names that the tracker takes (``lsat``), each also with
            ``_train`` or ``_eval``.

    Raises:
        ArgumentError: The run holds no such statistic.
    """
    held = recorded_stats(run)
    if not wanted:
        default = SATURATION if SATURATION in held else next(iter(held), None)
        return [] if default is None else [Choice(default)]
    modes: dict[str, set[str]] = {}
    for name in wanted:
        for choice in _find(run, held, name):
            modes.setdefault(choice.stat, set()).update(choice.modes)
    return [Choice(stat, tuple(m for m in MODES if m in chosen)) for stat, chosen in modes.items()]


def shown_together(choices: Sequence[Choice]) -> dict[str, list[Choice]]:
    """The choices that are shown together, by short name: the eigenvalues are, others alone."""
    together: dict[str, list[Choice]] = {}
    for choice in choices:
        together.setdefault(key_of(choice.stat), []).append(choice)
    return together


def _find(run: StoredRun, held: dict[str, tuple[str, ...]], name: str) -> list[Choice]:
    base, mode = split_mode(name)
    modes = (mode,) if mode else MODES
    # What the journal names so needs no look at what is installed.
    known = base in held or any(base == key_of(stat) for stat in held)
    names = (base,) if known else (base, long_name_of(base))
    found = [
        Choice(stat, modes)
        for stat, recorded in held.items()
        if (stat in names or key_of(stat) == base) and set(modes).intersection(recorded)
    ]
    if not found:
        array = _array(base)
        what = _what_is_held(run, held, name) if array is None else _where(run, array, modes)
        raise ArgumentError(what)
    return found


def _array(name: str) -> Stat | None:
    """The statistic of this key or long name, if it is an array."""
    stats = [*stats_of_key(name), *([stat] if (stat := find_stat(name)) else [])]
    return next((stat for stat in stats if stat.is_array), None)


def _what_is_held(run: StoredRun, held: dict[str, tuple[str, ...]], name: str) -> str:
    names = [_named(key, list(group)) for key, group in itertools.groupby(held, key_of)]
    return f"{run.folder} holds no statistic {name!r}; it holds {', '.join(names) or 'none'}"


def _named(key: str, stats: Sequence[str]) -> str:
    """``lsat (saturation)``, ``spectrum (spectrum-1 to spectrum-5)``."""
    if stats[0] == key:
        return key
    return f"{key} ({stats[0]})" if len(stats) == 1 else f"{key} ({stats[0]} to {stats[-1]})"


def _where(run: StoredRun, array: Stat, modes: Sequence[str]) -> str:
    """What to say of a statistic that is an array, which journals do not hold."""
    folders = [array_folder(run.folder) / array_group(mode, array.name) for mode in modes]
    there = [str(folder) for folder in folders if folder.is_dir()]
    if not there:
        return (
            f"{run.folder} holds no {array.name}, an array of each layer; record it with "
            f"save_to='npy', stats=['{array.key}']"
        )
    told = f"{array.name} is an array of each layer, which lies in {' and '.join(there)}"
    if array.key != "cov":
        return f"{told}; numpy.load reads it"
    return f"{told}; delve recompute {run.folder} --threshold 0.95 takes saturation from it"
