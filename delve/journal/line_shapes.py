"""Lines of epochs that differ in nothing but their numbers, as most lines of a journal do.

To parse such a line as JSON makes all its names anew. Where the names stand as in a line that was
parsed before, only the numbers are looked at, which takes less than half of the time.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delve.journal.format import EpochLine, NumberedLine
from delve.journal.values import NON_FINITE, WrittenNumbers
from delve.records import Metric

# What `to_json` makes of floats, of those that are not finite without quotes, and what passes for a
# value of the other fields.
_VALUE = rb"(?:-?(?:0|[1-9]\d{0,17}+)(?:\.\d++)?+(?:e[-+]\d{1,4}+)?+|NaN|-?Infinity)"
_COUNT = rb"(?:0|[1-9]\d{0,14}+)"
_TIME = rb"(?:[1-8]\d{12}|0|[1-9]\d{0,11}+)"
_BEFORE = (b"type", b"epoch", b"epoch", b"time", b"scalars")
_FIELDS = ["type", "epoch", "time", "scalars", "metrics"]
_AFTER = ["line", "crc32"]

_LONGEST = 2**18  # bytes of a line whose names are remembered
_MOST = 32  # shapes


@dataclass(frozen=True)
class _Shape:
    """The names of an epoch's line, in their order.

    Attributes:
        scalars: Those of the user's scalars.
        metrics: Those of the layer metrics.
        has_step: Whether a step stands behind them.
        numbers: What stands between the names.
    """

    scalars: tuple[str, ...]
    metrics: tuple[Metric, ...]
    has_step: bool
    numbers: re.Pattern[bytes]


_shapes: dict[tuple[bytes, ...], _Shape] = {}


def learn(line: bytes, entry: Mapping[str, Any]) -> None:
    """Remember the names of an epoch's line that was parsed, unless it is out of the ordinary."""
    step = ["step"] if "step" in entry else []
    if list(entry) != [*_FIELDS, *step, *_AFTER]:
        return
    scalars = entry["scalars"]
    written = [*scalars.values(), *entry["metrics"].values()]
    if len(line) > _LONGEST or not all(type(one) in (float, str) for one in written):
        return
    metrics = [Metric.parse(name) for name in entry["metrics"]]
    if None in metrics:
        return
    names = [name.encode(errors="replace") for name in (*scalars, "metrics", *entry["metrics"])]
    key = tuple(_unquoted(line).split(b'"')[1:-2:2])
    after = [name.encode() for name in (*step, *_AFTER)]
    if key != (*_BEFORE, *names, *after):  # a name is spelt with escapes
        return
    if len(_shapes) >= _MOST:
        _shapes.clear()
    known = tuple(metric for metric in metrics if metric is not None)
    between = _between(len(scalars), len(known), bool(step))
    _shapes[key] = _Shape(tuple(scalars), known, bool(step), between)


def epoch_line_of(line: bytes) -> NumberedLine | None:
    """The number and the epoch of a line of a known shape; None for others.

    Whether its checksum is right is for the caller to see.
    """
    found = _numbers_of(line)
    if found is None:
        return None
    shape, (epoch, time, *written, number) = found
    step = int(written.pop()) if shape.has_step else None
    scalars = len(shape.scalars)
    epoch_line = EpochLine(
        int(epoch),
        int(time),
        WrittenNumbers(shape.scalars, written[:scalars]),
        WrittenNumbers(shape.metrics, written[scalars:]),
        step=step,
    )
    return NumberedLine(int(number), epoch_line)


def _numbers_of(line: bytes) -> tuple[_Shape, list[bytes]] | None:
    if b"\\" in line:
        return None
    found = _parts_of(line)
    if found is None:
        plain = _unquoted(line)
        found = None if plain == line else _parts_of(plain)
    if found is None:
        return None
    shape, between = found
    if not shape.numbers.fullmatch(between):
        return None
    return shape, between.translate(None, b"{}:,").split()


def _parts_of(line: bytes) -> tuple[_Shape, bytes] | None:
    """The shape of the names, and what stands between them."""
    parts = line.split(b'"')
    shape = _shapes.get(tuple(parts[1:-2:2]))
    if shape is None or len(parts) % 2 == 0:
        return None
    return shape, b"".join(parts[::2])


def _unquoted(line: bytes) -> bytes:
    """The line with what is not finite as if it were a number, so that names alone have quotes."""
    for name in NON_FINITE:
        line = line.replace(b': "%b"' % name.encode(), b": " + name.encode())
    return line


@functools.lru_cache(_MOST)
def _between(scalars: int, metrics: int, has_step: bool) -> re.Pattern[bytes]:
    """What stands between the names of so many values, which are known."""
    step = rb": %b, " % _COUNT if has_step else b""
    return re.compile(
        rb"\{: , : %b, : %b, : %b: %b%b: %b, : \}\r?\n?"
        % (_COUNT, _TIME, _values(scalars), _values(metrics), step, _COUNT)
    )


def _values(count: int) -> bytes:
    if not count:
        return rb"\{\}, "
    return rb"\{(?:: %b, ){%d}: %b\}, " % (_VALUE, count - 1, _VALUE)
