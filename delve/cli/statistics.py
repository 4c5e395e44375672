"""The statistics that can be selected, one below the other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import click
from rich.console import RenderableType
from rich.padding import Padding

from delve.cli.terminal import say_parts, text
from delve.errors import DelveError
from delve.stats.registry import SETS, keys, stats_of_key
from delve.stats.stat import Stat

_KEY_WIDTH = 13


def tell(is_json: bool) -> None:
    """All of them, to people or to programs."""
    if is_json:
        click.echo(json.dumps(as_json(), indent=2, allow_nan=False))
    else:
        say_parts(*parts(), "", *sets())


def parts() -> Iterator[RenderableType]:
    """Each statistic, Delve's own first, and what it is below; one that cannot be used says why."""
    for key in keys():
        try:
            stats = stats_of_key(key)
        except DelveError as error:
            yield text(key)
            yield _below(f"cannot be used: {error}")
            continue
        for number, stat in enumerate(stats):
            shown = key if number == 0 else ""
            yield text(f"{shown:{_KEY_WIDTH - 1}} {stat.name}, {_range(stat)}")
            yield _below(_told(stat))


def sets() -> Iterator[str]:
    """A line for each name that stands for several."""
    for name, members in SETS.items():
        is_long = len(members) > 12
        told = "every number of these" if is_long else ", ".join(members)
        yield f"stats={name!r}: {told}"


def as_json() -> list[dict[str, object]]:
    """All of it for programs."""
    return [
        {
            "key": stat.key,
            "name": stat.name,
            "summary": stat.summary,
            "source": stat.source,
            "range": [None if math.isinf(end) else end for end in stat.limits],
            "is_array": stat.is_array,
            "sets": [name for name, members in SETS.items() if stat.key in members],
        }
        for key in keys()
        for stat in _usable(key)
    ]


def _usable(key: str) -> tuple[Stat, ...]:
    try:
        return stats_of_key(key)
    except DelveError:
        return ()


def _range(stat: Stat) -> str:
    low, high = stat.limits
    if stat.is_array:
        return "array"
    if math.isinf(low) and math.isinf(high):
        return "any"
    if stat.is_bounded_by_features and math.isinf(high):
        return f"{low:g} to features"
    return f"{low:g} to {high:g}" if math.isfinite(high) else f"from {low:g}"


def _told(stat: Stat) -> str:
    source = f" ({stat.source})" if stat.source else ""
    return f"{stat.summary}{source}"


def _below(told: str) -> RenderableType:
    return Padding(text(told), (0, 0, 0, _KEY_WIDTH))
