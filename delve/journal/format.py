"""The types of a journal's lines: what each holds, how it is written, checked, read, and voids.

One class a type. Its attributes are the fields of the line's JSON object, in the order in which
they are written; one that has its default is left out. What the lines of a journal add up to is
told in :mod:`delve.journal.contents`, and all of it, for readers in other languages, in
``docs/journal-format.md``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

from delve.errors import JournalError
from delve.journal import values
from delve.journal.home import Home
from delve.journal.lines import NUMBER, encode
from delve.records import EpochRecord

FORMAT = 1  # of a journal as a whole: a higher one is not read at all


def _unchanged(value: Any) -> Any:
    return value


def _field(
    fits: Callable[[Any], bool],
    default: Any = dataclasses.MISSING,
    read: Callable[[Any], Any] = _unchanged,
    write: Callable[[Any], Any] = _unchanged,
) -> Any:
    """A field of a line.

    Args:
        fits: Whether a value of JSON, None where the field is not there, passes for it.
        default: What it is where it is not there; without one it must be.
        read: Makes the attribute of the value.
        write: Makes a value of the attribute that JSON can hold.
    """
    return dataclasses.field(default=default, metadata={"fits": fits, "read": read, "write": write})


def _home_as_json(home: Home | None) -> Mapping[str, Any]:
    return home.as_json() if home else {}


@dataclass(frozen=True)
class Line:
    """A line of a journal. By itself it is one of a type that is not known, and says nothing."""

    TYPE: ClassVar[str] = ""

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """The line of this type that an object stands for.

        Raises:
            ValueError: A field is not there, or is none.
        """
        attributes = {}
        for field in dataclasses.fields(cls):
            value = entry.get(field.name)
            if not field.metadata["fits"](value):
                raise ValueError(f"a line of type {cls.TYPE} without a sound {field.name}")
            if field.name in entry or field.default is dataclasses.MISSING:
                attributes[field.name] = field.metadata["read"](value)
        return cls(**attributes)

    def as_json(self) -> dict[str, Any]:
        """What :meth:`from_json` makes the line of."""
        return {"type": self.TYPE} | {
            field.name: field.metadata["write"](value)
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) is not field.default
        }

    def encode(self, number: int) -> bytes:
        """The line as it stands in the file.

        Args:
            number: Which line of its journal it is, counted from 1.
        """
        return encode(self.as_json(), number)

    @property
    def voids_from(self) -> float:
        """It makes void what stands before it of this epoch and later ones; infinite: nothing."""
        return math.inf


@dataclass(frozen=True)
class RunLine(Line):
    """The header, a journal's first line: which run it is of."""

    TYPE = "run"

    format: int = _field(values.is_anything)
    run_id: str = _field(values.is_text)
    created: int = _field(values.is_time)
    layers: Sequence[str] = _field(values.are_names, read=tuple, write=list)
    config: Mapping[str, Any] = _field(values.is_object)
    home: Home | None = _field(values.is_anything, None, Home.from_json, _home_as_json)  # noqa: RUF009
    replaces_earlier: bool = _field(values.is_anything, False, bool)


@dataclass(frozen=True)
class EpochLine(Line):
    """All numbers of an epoch. It voids that epoch and later ones, as a resume does.

    A process records epochs in rising order: where the line of a resume is damaged, what it voided
    does not come back.
    """

    TYPE = "epoch"

    epoch: int = _field(values.is_epoch)
    time: int = _field(values.is_time)
    scalars: Mapping[str, float | str] = _field(values.are_numbers)
    metrics: Mapping[Any, float | str] = _field(values.are_numbers)
    layers: Sequence[str] | None = _field(values.are_names_or_none, None)
    few_samples: Mapping[str, Sequence[str]] | None = _field(values.are_names_by_mode_or_none, None)
    step: int | None = _field(values.is_epoch_or_none, None)
    features: Mapping[str, int] | None = _field(values.are_counts_by_name_or_none, None)

    @classmethod
    def of(cls, record: EpochRecord, layers: Sequence[str] | None = None) -> EpochLine:
        """The line of an epoch.

        Args:
            record: Its numbers.
            layers: The layers in forward order, where the lines before it do not tell them.
        """
        return cls(
            record.epoch,
            record.timestamp,
            record.scalars,
            record.metrics,
            layers,
            record.few_samples or None,
            record.step,
            record.features or None,
        )

    @property
    def record(self) -> EpochRecord:
        """The epoch."""
        return EpochRecord(
            epoch=self.epoch,
            timestamp=self.time,
            scalars=values.numbers(self.scalars),
            metrics=values.layer_metrics(self.metrics),
            few_samples=self.few_samples or {},
            step=self.step,
            features=self.features or {},
        )

    @property
    def voids_from(self) -> float:
        """Itself."""
        return self.epoch


@dataclass(frozen=True)
class ResumeLine(Line):
    """The run goes on from an epoch: what was recorded of it and of later ones is void."""

    TYPE = "resume"

    epoch: int = _field(values.is_epoch)
    time: int | None = _field(values.is_anything, None)

    @property
    def voids_from(self) -> float:
        """The first epoch that is recorded from now on."""
        return self.epoch


@dataclass(frozen=True)
class ConfigLine(Line):
    """Hyperparameters that a resumed run was given, in the place of the earlier ones."""

    TYPE = "config"

    config: Mapping[str, Any] = _field(values.is_object)


@dataclass(frozen=True)
class StateLine(Line):
    """What a writer remembers from now on, or that its backend was opened."""

    TYPE = "state"

    writer: str = _field(values.is_text)
    state: Mapping[str, Any] = _field(values.is_object)
    opened: bool = _field(values.is_anything, False, bool)
    sound_below: int | None = _field(values.is_epoch_or_none, None)


@dataclass(frozen=True)
class HomeLine(Line):
    """The folder was found elsewhere than before: it was moved, or brought from elsewhere."""

    TYPE = "home"

    home: Home | None = _field(values.is_object, read=Home.from_json, write=_home_as_json)  # noqa: RUF009
    may_be_copy: bool = _field(values.is_anything, False, bool)


@dataclass(frozen=True)
class ForkLine(Line):
    """The folder was found to be a copy of another run's: a run of its own from here on."""

    TYPE = "fork"

    run_id: str = _field(values.is_text)
    origin: str = _field(values.is_text)
    home: Home | None = _field(values.is_object, read=Home.from_json, write=_home_as_json)  # noqa: RUF009


@dataclass(frozen=True)
class BeginLine(Line):
    """A process has opened the run, and records it until a line of its end."""

    TYPE = "begin"

    time: int = _field(values.is_time)
    host: str = _field(values.is_text)
    process: int = _field(values.is_epoch)


@dataclass(frozen=True)
class EndLine(Line):
    """The process that recorded the run has closed it."""

    TYPE = "end"

    time: int = _field(values.is_time)
    error: str | None = _field(values.is_text_or_none, None)


class NumberedLine(NamedTuple):
    """A line that can be read.

    Attributes:
        number: Which line of its journal it says to be; 0 for one from before they said so.
        line: What it says.
    """

    number: int
    line: Line


LINE_TYPES: Mapping[str, type[Line]] = {line.TYPE: line for line in Line.__subclasses__()}


def first_words(line: type[Line]) -> bytes:
    """How every line of this type begins that Delve has written."""
    return b'{"type": "%b"' % line.TYPE.encode()


def check_format(entry: Any, path: str) -> None:
    """Refuse the header of a format that only a later version knows, whatever else it holds.

    Raises:
        JournalError: It has such a format.
    """
    match entry:
        case {"type": RunLine.TYPE, "format": int(version)} if version > FORMAT:
            raise JournalError(
                f"{path} has format {version}, this version of Delve reads up to {FORMAT}; "
                "use the newer version that wrote it"
            )


def line_from(entry: Any) -> Line:
    """The line that an object of JSON stands for.

    Raises:
        ValueError: It is none of a journal.
    """
    if not isinstance(entry, dict) or not values.is_text(entry.get("type")):
        raise ValueError("not a line of a journal")
    if not values.is_line_number(entry.get(NUMBER)):
        raise ValueError(f"a line of type {entry['type']} without a sound number")
    return LINE_TYPES.get(entry["type"], Line).from_json(entry)
