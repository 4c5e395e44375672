"""One line of a journal: a JSON object with its checksum, and the values in it."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from delve.records import EpochRecord, Metric

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_CHECKSUM_MARK = b', "crc32": '
_CHECKSUM = _CHECKSUM_MARK + b'"%08x"}\n'


def encode(entry: Mapping[str, Any]) -> bytes:
    """A line, with the checksum of its object as the last field."""
    return _with_checksum(to_json(entry))


def to_json(entry: Mapping[str, Any]) -> bytes:
    """The object of a line, without a checksum; what is not finite becomes its name."""
    try:
        text = json.dumps(entry, allow_nan=False, default=_plain)
    except ValueError:  # something is not finite, which is rare: only then look at each value
        text = json.dumps(_finite(entry), allow_nan=False, default=_plain)
    return text.encode()


def _with_checksum(content: bytes) -> bytes:
    """The line of a JSON object, with the checksum of the object as its last field."""
    return content[:-1] + _CHECKSUM % zlib.crc32(content)


def is_whole(line: bytes) -> bool:
    """Whether a line is as it was written; one without a checksum cannot tell."""
    content, mark, _ = line.rpartition(_CHECKSUM_MARK)
    return not mark or line == _with_checksum(content + b"}")


def _plain(value: Any) -> Any:
    """A stand-in for a hyperparameter that JSON cannot hold: its number, else its text."""
    item = getattr(value, "item", None)
    return _finite(item()) if item is not None and getattr(value, "size", 0) == 1 else str(value)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case Mapping():
            return {str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


def _number(value: float | str) -> float:
    return _NON_FINITE[value] if isinstance(value, str) else float(value)


def _layer_metrics(entries: Mapping[str, float | str]) -> Iterator[tuple[Metric, float]]:
    for key, value in entries.items():
        metric = Metric.parse(key)
        if metric is not None:
            yield metric, _number(value)


def decode_epoch(line: bytes) -> EpochRecord:
    """The values of an epoch's line, which :func:`check_epoch` has let pass."""
    entry = json.loads(line)
    return EpochRecord(
        epoch=entry["epoch"],
        timestamp=entry["time"],
        scalars={name: _number(value) for name, value in entry["scalars"].items()},
        metrics=dict(_layer_metrics(entry["metrics"])),
    )


def check_epoch(entry: Mapping[str, Any]) -> None:
    """Raise ValueError for an epoch's line that :func:`decode_epoch` could not use."""
    values = (*entry["scalars"].values(), *entry["metrics"].values())
    numbers = all(isinstance(value, (int, float)) or value in _NON_FINITE for value in values)
    if not numbers or not isinstance(entry["epoch"], int) or not isinstance(entry["time"], int):
        raise ValueError("not the line of an epoch")
