"""An epoch's numbers as one record, put together without a message for each of them.

From epoch to epoch the tags are the same. So all but the numbers, the time and the step is made
once, as TensorBoard's own messages would make it, and the numbers are put in their places.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from delve.records import MODES, Metric
from delve_tensorboard.framing import frame
from delve_tensorboard.summaries import WRITER, as_text
from delve_tensorboard.tags import LayerTags

_TIME = struct.Struct("<Bd")  # the fields of TensorBoard's messages, by their number and type
_TIME_KEY = 0x09
_STEP_KEY = b"\x10"
_SUMMARY_KEY = b"\x2a"
_SOURCE_KEY = b"\x52"
_VALUE_KEY = b"\x0a"
_TAG_KEY = b"\x0a"
_NUMBER_KEY = b"\x15"
_NUMBER_SIZE = 4  # single precision, as everywhere in TensorBoard

_MOST = 64  # sets of names that are remembered

K = TypeVar("K")
V = TypeVar("V")


class RowTemplate:
    """The record of numbers that have these tags.

    They are in single precision. Double precision would need tensors: readers that ask for scalars
    do not find those, and TensorBoard's default data server shows none of their points.

    Args:
        tags: One a number.
    """

    def __init__(self, tags: Iterable[str]) -> None:
        content, ends = bytearray(), []
        for tag in tags:
            text = as_text(tag).encode()
            named = _TAG_KEY + _varint(len(text)) + text if text else b""
            value = named + _NUMBER_KEY + bytes(_NUMBER_SIZE)
            content += _VALUE_KEY + _varint(len(value)) + value
            ends.append(len(content))
        self._begin = _SUMMARY_KEY + _varint(len(content))
        self._content = np.frombuffer(bytes(content), np.uint8)
        # Where the bytes of each number stand.
        self._places = np.array(ends, np.intp)[:, None] + np.arange(-_NUMBER_SIZE, 0)

    def record(
        self, numbers: Sequence[float], step: int, timestamp: int, source: bytes = b""
    ) -> bytes:
        """The record of a row.

        Args:
            numbers: Its numbers, one a tag.
            step: Its step in TensorBoard.
            timestamp: When it was saved, in milliseconds.
            source: What else it says of itself, encoded: see :func:`source_of`.
        """
        content = self._content.copy()
        with np.errstate(over="ignore"):  # what is too large is infinite
            single = np.array(numbers, np.float64).astype("<f4")
        content[self._places] = single.view(np.uint8).reshape(-1, _NUMBER_SIZE)
        time = _TIME.pack(_TIME_KEY, timestamp / 1000) if timestamp else b""
        at = _STEP_KEY + _varint(step) if step else b""
        return frame(b"".join((time, at, self._begin, content.tobytes(), source)))


def source_of(epoch: int, step: int | None) -> bytes:
    """What a record says of the epoch whose row it is, where its step is a training step.

    It stands in a field that TensorBoard shows nowhere: the name of the program that wrote it.
    """
    if step is None:
        return b""
    name = f"{WRITER} {epoch}".encode()
    source = _TAG_KEY + _varint(len(name)) + name
    return _SOURCE_KEY + _varint(len(source)) + source


@dataclass(frozen=True)
class _Part:
    """The numbers that one of TensorBoard's runs gets of an epoch.

    Attributes:
        places: Where they stand among all of the epoch's.
        template: Their record.
    """

    places: Sequence[int]
    template: RowTemplate


class Rows:
    """Makes the records of an epoch, by the run of TensorBoard's that shows them.

    Args:
        user: The name of the run of the user's scalars.
        tags: What layers are called.
    """

    def __init__(self, user: str, tags: LayerTags) -> None:
        self._user = user
        self._tags = tags
        self._layer_parts: dict[tuple[Metric, ...], dict[str, _Part]] = {}
        self._user_templates: dict[tuple[str, ...], RowTemplate] = {}

    def knows(self, metrics: Mapping[Metric, float]) -> bool:
        """Whether there was an epoch with exactly these metrics."""
        return tuple(metrics) in self._layer_parts

    def records(
        self,
        scalars: Mapping[str, float],
        metrics: Mapping[Metric, float],
        epoch: int,
        timestamp: int,
        step: int | None = None,
    ) -> dict[str, bytes]:
        """The record of each run, for the user's even where it has no number."""
        at, source = epoch if step is None else step, source_of(epoch, step)
        names = tuple(metrics)
        parts = self._layer_parts.get(names)
        if parts is None:
            parts = _remember(self._layer_parts, names, self._parts_of(names))
        values = list(metrics.values())
        records = {
            mode: part.template.record(
                values if len(parts) == 1 else [values[place] for place in part.places],
                at,
                timestamp,
                source,
            )
            for mode, part in parts.items()
        }
        template = self._template_of(tuple(scalars))
        records[self._user] = template.record(list(scalars.values()), at, timestamp, source)
        return records

    def empty(self, epoch: int, timestamp: int, step: int | None = None) -> bytes:
        """The record of an epoch without numbers."""
        at = epoch if step is None else step
        return self._template_of(()).record((), at, timestamp, source_of(epoch, step))

    def _template_of(self, names: tuple[str, ...]) -> RowTemplate:
        known = self._user_templates.get(names)
        return known or _remember(self._user_templates, names, RowTemplate(names))

    def _parts_of(self, metrics: Sequence[Metric]) -> dict[str, _Part]:
        parts = {}
        for mode in MODES:
            places = [place for place, metric in enumerate(metrics) if metric.mode == mode]
            if places:
                tags = [self._tags.tag(metrics[place]) for place in places]
                parts[mode] = _Part(places, RowTemplate(tags))
        return parts


def _remember(known: dict[K, V], key: K, value: V) -> V:
    """Keep a value, but not for more keys than a run has at a time."""
    if len(known) >= _MOST:
        known.clear()
    known[key] = value
    return value


def _varint(number: int) -> bytes:
    """A whole number as protocol buffers spell it."""
    number &= 2**64 - 1
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
