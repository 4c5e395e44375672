"""Many runs, one row each: what is told of them, which of them, and in which order."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from delve.cli.choice import SATURATION
from delve.cli.facts import flat_config
from delve.cli.scalars import ScalarSummary, has_best, lowest_is_best
from delve.errors import ArgumentError
from delve.journal.finding import natural
from delve.journal.format import EpochLine
from delve.journal.overview import Extremes
from delve.journal.status import Status, status_of
from delve.journal.stored_run import StoredRun, read_with_lines
from delve.journal.table import Table
from delve.journal.values import layer_metrics
from delve.records import MODES
from delve.stats.registry import key_of, long_name_of, split_mode

Value = float | str | None


@dataclass(frozen=True)
class RunRow:
    """What is told of one run.

    Attributes:
        name: What it is called among the others.
        run: The run.
        status: How it stands with it.
        config: Its hyperparameters, nested ones by dotted names.
        scalars: The user's scalars.
        stats: The chosen statistic: of all layers in the mean, or of each that was asked for.
    """

    name: str
    run: StoredRun
    status: Status
    config: Mapping[str, str]
    scalars: Mapping[str, ScalarSummary]
    stats: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """The statistic that is wanted of each run.

    Attributes:
        stat: Its long name; None for saturation, or the first that a run holds.
        mode: The mode; None for evaluation, or training where there is none of it.
        layers: Patterns of layers that are wanted one by one; without any it is the mean of all.
    """

    stat: str | None = None
    mode: str | None = None
    layers: tuple[str, ...] = ()

    @classmethod
    def named(cls, stats: Sequence[str], layers: Sequence[str]) -> Wanted:
        """The one of this name.

        Raises:
            ArgumentError: There is more than one name.
        """
        if len(stats) > 1:
            raise ArgumentError(f"--stat: of many runs one statistic is shown, not {len(stats)}")
        base, mode = split_mode(stats[0]) if stats else (None, None)
        return cls(None if base is None else long_name_of(base), mode, tuple(layers))


def read_row(folder: Path, name: str, wanted: Wanted) -> RunRow:
    """Read what is told of a run.

    Raises:
        JournalError: It cannot be read.
    """
    run, lines = read_with_lines(folder)
    return RunRow(
        name,
        run,
        status_of(run),
        flat_config(run.config),
        _summaries(Table.of_scalars(lines)),
        _stats(lines, wanted),
    )


def _summaries(table: Table) -> dict[str, ScalarSummary]:
    found = {}
    for name, (epochs, values) in table.series.items():
        extremes = Extremes()
        for epoch, value in zip(epochs.tolist(), values.tolist(), strict=True):
            extremes.take(value, epoch)
        found[name] = ScalarSummary.of(name, extremes)
    return found


def _stats(lines: Sequence[EpochLine], wanted: Wanted) -> dict[str, float]:
    """The statistic in the last epoch that holds it, by the heading of its column."""
    for line in reversed(lines):
        metrics = layer_metrics(line.metrics)
        held = dict.fromkeys(metric.stat for metric in metrics)
        default = SATURATION if SATURATION in held else next(iter(held), None)
        stat = wanted.stat or default
        for mode in [wanted.mode] if wanted.mode else reversed(MODES):
            values = {m.layer: v for m, v in metrics.items() if (m.stat, m.mode) == (stat, mode)}
            if values and stat:
                return _columns(f"{key_of(stat)} {mode}", values, wanted.layers)
    return {}


def _columns(
    heading: str, values: Mapping[str, float], patterns: Sequence[str]
) -> dict[str, float]:
    if patterns:
        return {
            f"{heading} {layer}": value
            for layer, value in values.items()
            if any(fnmatch.fnmatchcase(layer, pattern) for pattern in patterns)
        }
    finite = [value for value in values.values() if math.isfinite(value)]
    return {f"{heading} mean": math.fsum(finite) / len(finite) if finite else math.nan}


# Which of them


def choose(rows: Sequence[RunRow], conditions: Sequence[str]) -> list[RunRow]:
    """The runs whose hyperparameters are what each condition, such as ``lr=0.1``, says.

    Raises:
        ArgumentError: A condition is none, or no run has such a hyperparameter.
    """
    chosen = list(rows)
    for condition in conditions:
        key, mark, wanted = condition.partition("=")
        if not mark:
            raise ArgumentError(f"--where: {condition!r} is no condition; write lr=0.1")
        keys = keys_named([row.config for row in rows], key, "--where")
        chosen = [row for row in chosen if any(_is(row.config.get(k), wanted) for k in keys)]
    return chosen


def keys_named(configs: Sequence[Mapping[str, str]], key: str, option: str) -> list[str]:
    """The hyperparameters of this name, or whose last part it is.

    Args:
        configs: The hyperparameters of each run, nested ones by dotted names.
        key: The name.
        option: What asks for it, for the error.

    Raises:
        ArgumentError: No run has it.
    """
    known = dict.fromkeys(name for config in configs for name in config)
    found = [name for name in known if name == key] or [
        name for name in known if name.endswith(f".{key}")
    ]
    if not found:
        raise ArgumentError(
            f"{option}: no run has a hyperparameter {key!r}; there are: "
            f"{', '.join(known) or 'none'}"
        )
    return found


def _is(value: str | None, wanted: str) -> bool:
    if value is None:
        return False
    try:
        return float(value) == float(wanted)
    except ValueError:
        return fnmatch.fnmatchcase(value, wanted)


# In which order


def order(rows: Sequence[RunRow], key: str | None) -> list[RunRow]:
    """The runs sorted: by name as people count, or by what ``key`` names, the best first.

    What is a number rises, but a scalar whose highest value is its best falls. A ``-`` before the
    key turns the order round; runs without a value come last in any case.

    Raises:
        ArgumentError: No run has such a thing.
    """
    by_name = sorted(rows, key=lambda row: natural(row.name))
    if key is None:
        return by_name
    name = key.removeprefix("-")
    value_of, falls = _sorted_by(rows, name)
    held = [row for row in by_name if value_of(row) not in (None, "")]
    told = sorted(held, key=lambda row: _place(value_of(row)), reverse=falls != key.startswith("-"))
    return [*told, *(row for row in by_name if row not in held)]


def _sorted_by(rows: Sequence[RunRow], name: str) -> tuple[Callable[[RunRow], Value], bool]:
    """What a name stands for, and whether the highest comes first."""
    fixed: dict[str, Callable[[RunRow], Value]] = {
        "run": lambda row: row.name,
        "name": lambda row: row.name,
        "status": lambda row: str(row.status),
        "epochs": lambda row: float(len(row.run.epochs)),
        "when": lambda row: float(row.status.time),
    }
    if name in fixed:
        return fixed[name], False
    if any(name in row.scalars for row in rows):
        falls = has_best(name) and not lowest_is_best(name)
        return lambda row: _best(row.scalars.get(name)), falls
    configs = dict.fromkeys(key for row in rows for key in row.config)
    stats = dict.fromkeys(key for row in rows for key in row.stats)
    config = next((key for key in configs if name == key or key.endswith(f".{name}")), None)
    if config is not None:
        return lambda row: row.config.get(config), False
    stat = next((key for key in stats if name in (key, *_names_of(key))), None)
    if stat is not None:
        return lambda row: _finite(row.stats.get(stat)), False
    scalars = dict.fromkeys(key for row in rows for key in row.scalars)
    there = [*list(fixed)[1:], *configs, *scalars, *stats]
    raise ArgumentError(f"--sort: no run has {name!r}; there are: {', '.join(there)}")


def _names_of(heading: str) -> tuple[str, str]:
    key = heading.split()[0]
    return key, long_name_of(key)


def _best(summary: ScalarSummary | None) -> float | None:
    if summary is None:
        return None
    return summary.best if has_best(summary.name) else _finite(summary.last)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _place(value: Value) -> tuple[int, float, list[tuple[int, float, str]]]:
    """Where a value stands among others: numbers before words."""
    try:
        return 0, float(value or 0), []
    except ValueError:
        return 1, 0.0, natural(str(value))


def differing(configs: Sequence[Mapping[str, str]]) -> list[str]:
    """The hyperparameters in which runs differ, in first-seen order.

    Args:
        configs: The hyperparameters of each run, nested ones by dotted names.
    """
    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if len({config.get(key) for config in configs}) > 1]
