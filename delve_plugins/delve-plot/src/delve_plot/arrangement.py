"""What tells the runs of a figure apart: panels, colours, or both.

Up to seven runs have a colour and a marker each, which is what the colour-blind can tell apart and
a reader can keep in mind. More never get more colours of that kind: nobody finds the ninth of
twelve hues in a legend. What tells many runs apart is what was varied, so:

- A hyperparameter with few values makes small multiples, a panel for each value on the same axes.
  The one with the fewest values does, so that panels are few and large.
- Another one makes the colours of the curves. A number has colours that rise in brightness with it
  (viridis, which stays in order for the colour-blind and in grey), one step for each value and not
  in proportion, because what is varied is spread by ratios more often than by differences. The
  number with the most values does, because order tells even similar colours apart.
- Where nothing was varied but a seed, or nothing is known, each run has a panel of its own, before
  the range of all runs: position tells forty runs apart where no colour would. Of more than sixty
  nobody looks at each: they have colours in their order.

Hyperparameters beyond these two are named in the legend, if runs that look alike differ in them.
Sources: Tufte, Envisioning Information (1990), chapter 4, on small multiples; Crameri, Shephard and
Heron, The misuse of colour in science communication, Nature Communications 11 (2020), on colours
that rise evenly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from delve.cli import differing, keys_named
from delve.errors import ArgumentError

MOST_COLOURS = 7  # that are no scale
_MOST_PANELS = 6  # of a hyperparameter's values, where nobody asked for it
_MOST_RUNS = 60  # that have a panel each, where nobody asked for it
_FEWEST_STEPS = 3  # values of a number that make a scale
_SEED = re.compile(r"seed|random_state|trial|replica|fold", re.IGNORECASE)
LAYER, TYPE, RUN = "layer", "type", "run"
Config = Mapping[str, str]


@dataclass(frozen=True)
class Arrangement:
    """What tells the runs of a figure apart.

    Attributes:
        panels: The hyperparameter that has a panel for each of its values, if one has.
        colours: The one whose values are colours; None where each run has its own, or its panel.
        by_type: Whether the layers stand by type.
        by_run: Whether each run has a panel.
        unsaid: The hyperparameters in which runs differ that look alike.
    """

    panels: str | None = None
    colours: str | None = None
    by_type: bool = False
    by_run: bool = False
    unsaid: tuple[str, ...] = ()

    @property
    def told_unsaid(self) -> str:
        """The same in words; empty where all is shown."""
        names = ", ".join(key.rpartition(".")[2] for key in self.unsaid)
        return f"lines that look alike differ in {names}" if names else ""


def arrange(
    configs: Sequence[Config], by: str | None = None, has_types: bool = False
) -> Arrangement:
    """Choose what tells runs apart, by the rules that the module tells.

    Args:
        configs: The hyperparameters of each run, nested ones by dotted names.
        by: What panels are wanted for: a hyperparameter, by its name or the last part of it, or
            ``layer``, ``type``, ``run``. None chooses.
        has_types: Whether the layers have types, and are so many that they are drawn by them.

    Raises:
        ArgumentError: There is no such hyperparameter, or layers have no types.
    """
    key = None if by is None else _wanted(configs, by)
    word = by if key is None else None
    if word == TYPE and not has_types:
        raise ArgumentError("by: the layers' names show no blocks that repeat")
    by_type, many = has_types and word != LAYER, len(configs) > MOST_COLOURS
    if word == RUN or (key is None and not many):
        return Arrangement(by_type=by_type, by_run=word == RUN)
    rest = [name for name in _telling(configs) if name != key]
    colours = _for_colours(configs, rest)
    if key is None and word != TYPE:
        key = _for_panels(configs, [name for name in rest if name != colours])
    if key is None and colours is None:
        return Arrangement(by_type=by_type, by_run=word != TYPE and len(configs) <= _MOST_RUNS)
    return Arrangement(key, colours, by_type, unsaid=_unsaid(configs, [key, colours]))


def values_of(configs: Sequence[Config], key: str) -> list[str | None]:
    """The values of a hyperparameter, numbers in rising order; None, last, for runs without it."""
    return sorted({config.get(key) for config in configs}, key=_place)


def is_number(configs: Sequence[Config], key: str) -> bool:
    """Whether all values of a hyperparameter, as far as there are any, are finite numbers."""
    return all(math.isfinite(_place(value)[1]) for value in values_of(configs, key) if value)


def is_scale(configs: Sequence[Config], key: str) -> bool:
    """Whether a hyperparameter's values make a scale of colours."""
    count = len(values_of(configs, key))
    return count > MOST_COLOURS or (count >= _FEWEST_STEPS and is_number(configs, key))


def told_value(key: str, value: str | None) -> str:
    """A value with the last part of its key's name: ``width = 16``."""
    name = key.rpartition(".")[2]
    return f"no {name}" if value is None else f"{name} = {short_value(value)}"


def short_value(value: str | None) -> str:
    """A value in short: 0.1 + 0.2 has seventeen digits."""
    if value is None:
        return "none"
    number = _place(value)[1]
    return min(value, f"{number:.4g}", key=len) if math.isfinite(number) else value


def _wanted(configs: Sequence[Config], by: str) -> str | None:
    """The hyperparameter that was asked for; None for one of the words, if none is called so."""
    try:
        keys = keys_named(configs, by, "by")
    except ArgumentError:
        if by in (LAYER, TYPE, RUN):
            return None
        differ = ", ".join(differing(configs)) or "none"
        raise ArgumentError(
            f"by: no run has a hyperparameter {by!r}; the runs differ in: {differ}; or name "
            f"{LAYER}, {TYPE} or {RUN}"
        ) from None
    return keys[0]


def _telling(configs: Sequence[Config]) -> list[str]:
    """The hyperparameters that say what was varied: no seeds, no names, none twice."""
    found: dict[tuple[int, ...], str] = {}
    for key in differing(configs):
        values = [config.get(key) for config in configs]
        is_name = len(set(values)) == len(configs) and not is_number(configs, key)
        if not _SEED.search(key) and not (is_name and len(configs) > MOST_COLOURS):
            found.setdefault(tuple(values.index(value) for value in values), key)
    return list(found.values())


def _unsaid(configs: Sequence[Config], shown: Sequence[str | None]) -> tuple[str, ...]:
    """The hyperparameters in which runs differ that are alike in all that is shown."""
    groups: dict[tuple[str | None, ...], list[Config]] = {}
    for config in configs:
        groups.setdefault(tuple(config.get(key) for key in shown if key), []).append(config)
    return tuple(dict.fromkeys(key for alike in groups.values() for key in differing(alike)))


def _for_colours(configs: Sequence[Config], keys: Sequence[str]) -> str | None:
    """The number with the most values, of several the last; else what has few enough values."""
    counts = {key: len(values_of(configs, key)) for key in keys}
    numbers = [key for key in keys if is_number(configs, key)]
    few = [key for key in keys if counts[key] <= MOST_COLOURS]
    scales = [key for key in numbers if counts[key] >= _FEWEST_STEPS]
    return max(reversed(scales or few), key=lambda key: counts[key], default=None)


def _for_panels(configs: Sequence[Config], keys: Sequence[str]) -> str | None:
    counts = {key: len(values_of(configs, key)) for key in keys}
    few = [key for key in keys if counts[key] <= _MOST_PANELS]
    return min(few, key=lambda key: counts[key], default=None)


def _place(value: str | None) -> tuple[int, float, str]:
    """Where a value stands among others: numbers, then words, then none."""
    if value is None:
        return 2, math.inf, ""
    try:
        number = float(value)
    except ValueError:
        return 1, math.inf, value
    return (0, number, value) if math.isfinite(number) else (1, math.inf, value)
