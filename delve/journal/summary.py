"""What is told of several runs, one row each: how they stand, hyperparameters, last scalars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def summarise(runs: Sequence[tuple[Row, Mapping[str, Any], Mapping[str, float]]]) -> list[Row]:
    """A row for each run, all with the same columns; None stands for what a run does not have.

    A scalar that is called like a column before it stands in ``last NAME``.

    Args:
        runs: Of each what comes first in its row, its hyperparameters, and its scalars.
    """
    configs = [dict(_flat(config)) for _, config, _ in runs]
    first = list(dict.fromkeys(key for facts, _, _ in runs for key in facts))
    keys = [k for k in dict.fromkeys(key for config in configs for key in config) if k not in first]
    taken = {*first, *keys}
    names = dict.fromkeys(name for _, _, scalars in runs for name in scalars)
    columns = {name: f"last {name}" if name in taken else name for name in names}
    return [
        {
            **facts,
            **{key: config.get(key) for key in keys},
            **{column: scalars.get(name) for name, column in columns.items()},
        }
        for (facts, _, scalars), config in zip(runs, configs, strict=True)
    ]


def differing_columns(rows: Sequence[Row], always: Sequence[str]) -> list[str]:
    """The columns in which rows differ, and those that are told in any case."""
    columns = list(rows[0]) if rows else []
    return [
        column
        for column in columns
        if column in always or len({repr(row[column]) for row in rows}) > 1
    ]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Hyperparameters, nested ones by dotted names."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
