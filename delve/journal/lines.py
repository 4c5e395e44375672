"""One line of a journal: a JSON object with its checksum, and the values in it."""

from __future__ import annotations

import functools
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from delve.errors import JournalError
from delve.journal import line_shapes
from delve.records import EpochRecord, Metric

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

# Whole numbers beyond this are not the same for every reader of JSON.
LARGEST_EPOCH = 2**53
# The year 2262 in milliseconds, where clocks that count nanoseconds end.
_LATEST = 2**63 // 1_000_000

_CHECKSUM_MARK = b', "crc32": '
_CHECKSUM = _CHECKSUM_MARK + b'"%08x"}\n'

LONGEST = 2**25  # bytes of a line; an epoch of half a million metrics has less
_MOST_SKIPPED = 2**28  # bytes that are read to find the end of a longer one

# Which line of its journal it is, counted from 1: a line that was moved or repeated tells so.
NUMBER = "line"


def encode(entry: Mapping[str, Any], number: int | None = None) -> bytes:
    """A line, with its number, if it has one, and the checksum of its object as the last fields."""
    return _with_checksum(to_json(entry if number is None else {**entry, NUMBER: number}))


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
    """Whether a line is as it was written; one without a checksum cannot tell.

    Its end is forgiven: other programs turn line ends into those of Windows, and editors leave the
    last one out. Only what bears a checksum is whole without one.
    """
    content, mark, _ = line.rpartition(_CHECKSUM_MARK)
    if not mark:
        return line.endswith(b"\n")
    return line.rstrip(b"\r\n") + b"\n" == _with_checksum(content + b"}")


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


def lines_of(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Each line and its length; of one that is too long for a journal, the beginning alone.

    Raises:
        JournalError: There is no end of a line as far as anybody should look for one.
    """
    left = _MOST_SKIPPED
    while content := file.readline(LONGEST):
        length = len(content)
        if length == LONGEST and not content.endswith(b"\n"):
            length += _length_of_rest(file, left)
            left -= length
        yield content, length


def _length_of_rest(file: BinaryIO, most: int) -> int:
    """How far the end of a line lies from where the file is read."""
    length, part = 0, b""
    while not part.endswith(b"\n"):
        part = file.readline(2**20)
        length += len(part)
        if not part or length > most:
            raise JournalError(
                f"{file.name} holds a line of more than {LONGEST} bytes, which Delve does not "
                "write, and that does not end; cut it off, or move the file away"
            )
    return length


def _number(value: float | str) -> float:
    return _NON_FINITE[value] if isinstance(value, str) else float(value)


# The same names come with every epoch.
_parse_metric = functools.lru_cache(2**15)(Metric.parse)


def _layer_metrics(entries: Mapping[str, float | str]) -> dict[Metric, float]:
    return {
        metric: value if type(value) is float else _number(value)
        for key, value in entries.items()
        if (metric := _parse_metric(key)) is not None
    }


def parse(line: bytes) -> Any:
    """What a line holds.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It has too many brackets.
    """
    # Delve's own lines are ASCII, which need not be looked through for their encoding.
    return json.loads(line.decode("ascii") if line.isascii() else line)


def decode_epoch(line: bytes) -> EpochRecord:
    """The values of an epoch's line, which :func:`check_entry` has let pass."""
    known = line_shapes.record_of(line)
    if known is not None:
        return known
    entry = parse(line)
    return EpochRecord(
        epoch=entry["epoch"],
        timestamp=entry["time"],
        scalars={name: _number(value) for name, value in entry["scalars"].items()},
        metrics=_layer_metrics(entry["metrics"]),
        few_samples=entry.get("few_samples") or {},
    )


def _is_epoch(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_EPOCH


def _is_epoch_or_none(value: Any) -> bool:
    return value is None or _is_epoch(value)


def _is_line_number(value: Any) -> bool:
    return value is None or (type(value) is int and 0 < value <= LARGEST_EPOCH)


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LATEST


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_new_names(value: Any) -> bool:
    return value is None or _are_names(value)


def _are_names_by_mode(value: Any) -> bool:
    return value is None or (_is_object(value) and all(map(_are_names, value.values())))


def _are_numbers(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    values = value.values()
    return set(map(type, values)) <= {float} or all(map(_is_number, values))


def _is_number(value: Any) -> bool:
    match value:
        case float():
            return True
        case int():
            return abs(value) <= sys.float_info.max
        case _:
            return _is_text(value) and value in _NON_FINITE


# What the types of lines hold; of another type, which a later version may add, nothing is known.
_FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "run": {
        "run_id": _is_text,
        "created": _is_time,
        "layers": _are_names,
        "config": _is_object,
    },
    "epoch": {
        "epoch": _is_epoch,
        "time": _is_time,
        "scalars": _are_numbers,
        "metrics": _are_numbers,
        "layers": _are_new_names,
        "few_samples": _are_names_by_mode,
    },
    "resume": {"epoch": _is_epoch},
    "config": {"config": _is_object},
    "state": {"writer": _is_text, "state": _is_object, "sound_below": _is_epoch_or_none},
    "home": {"home": _is_object},
    "fork": {"run_id": _is_text, "origin": _is_text, "home": _is_object},
}


def check_entry(entry: Any) -> None:
    """Raise ValueError for what is not the object of a journal's line."""
    if not isinstance(entry, dict) or not _is_text(entry.get("type")):
        raise ValueError("not a line of a journal")
    if not _is_line_number(entry.get(NUMBER)):
        raise ValueError(f"a line of type {entry['type']} without a sound number")
    for name, fits in _FIELDS.get(entry["type"], {}).items():
        if not fits(entry.get(name)):
            raise ValueError(f"a line of type {entry['type']} without a sound {name}")
