"""Which run in MLflow is this run's: MLflow itself has to say so.

A folder can be copied, and it can come from somebody else. What its journal remembers is a hint
where to look, and no leave to change anything there.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from delve.journal import holds_run
from delve.records import RunInfo
from delve_mlflow.keys import KeyStyle, clean_key

RUN_ID = "delve.run_id"  # on a run that Delve made
SAVEFILE = "delve.savefile"
TAKEN_BY = "delve.taken_by"  # the folder from elsewhere that went on in it, or began it, and where
COPIED_FROM = "delve.copied_from"
RESUMED_FROM = "delve.resumed_from"
SUPERSEDED_BY = "delve.superseded_by"
STATE = "delve.state"
COPYING = "copying"
SENT = "delve.sent"  # the step of the last row of the user's own scalars alone, and its time
RECORDS = "delve.records."  # on one that somebody else made, with the identity of Delve's run
PREFIX = "delve.prefix."  # and what its metrics begin with there
KEY_STYLE = "delve.key_style."  # on any: how keys are made, where it is not as it usually is

_FORMS = {
    "run_id": re.compile(r"[a-zA-Z0-9][\w-]{0,255}"),  # MLflow's own
    "experiment_id": re.compile(r"[a-zA-Z0-9][\w-]{0,63}"),
    "untold": re.compile("FINISHED|FAILED|KILLED"),
    "address": re.compile("(?s).+"),
    "prefix": re.compile("(?s).*"),
    "lacking": re.compile(r"\d{1,18}"),
    "key_style": re.compile("|".join(get_args(KeyStyle))),
}
_NUMBER = re.compile("[0-9]{2,18}")


@dataclass(frozen=True)
class Remembered:
    """What the journal remembers of MLflow, as far as it can be used.

    Attributes:
        run_id: The run that was recorded into.
        experiment_id: Its experiment.
        address: The tracking URI, without user and password.
        untold: The status that MLflow could not be told.
        prefix: What the metrics' keys began with.
        lacking: The step of the first row that MLflow said it took, and does not hold.
        key_style: How its keys are made.
        numbers: The numbers of layers there.
        useless: The names of what is of no use.
    """

    run_id: str | None = None
    experiment_id: str | None = None
    address: str | None = None
    untold: str | None = None
    prefix: str | None = None
    lacking: str | None = None
    key_style: str | None = None
    numbers: Mapping[str, str] = field(default_factory=dict)
    useless: tuple[str, ...] = ()

    @classmethod
    def of(cls, state: Any) -> Remembered:
        """Read a writer's state, whatever its shape."""
        if not isinstance(state, Mapping):
            return cls(useless=("all of it",))
        found = {name: state[name] for name in _FORMS if state.get(name) is not None}
        good = {
            name: value
            for name, value in found.items()
            if isinstance(value, str) and _FORMS[name].fullmatch(value)
        }
        if good.get("prefix") and not is_prefix(good["prefix"]):
            del good["prefix"]
        useless = found.keys() - good.keys()
        numbers = state.get("numbers") or {}
        if not _are_numbers(numbers):
            numbers, useless = {}, {*useless, "numbers"}
        return cls(**good, numbers=numbers, useless=tuple(useless))


def _are_numbers(numbers: object) -> bool:
    return (
        isinstance(numbers, Mapping)
        and all(isinstance(text, str) and _NUMBER.fullmatch(text) for text in numbers.values())
        and len({int(text) for text in numbers.values()}) == len(numbers)
    )


@dataclass(frozen=True)
class Identity:
    """What tells this run's runs in MLflow from all others.

    Attributes:
        run_id: The identity of Delve's run, as the value of a tag.
        folder: Its folder.
        hint: The run in MLflow that the journal names.
        may_be_copy: Whether another folder may go by the same identity.
    """

    run_id: str
    folder: Path
    hint: str | None
    may_be_copy: bool

    @property
    def here(self) -> str:
        """The folder on its machine, as two folders of one identity are told apart."""
        return f"{platform.node()}:{self.savefile}"

    @classmethod
    def of(cls, run: RunInfo, remembered: Remembered) -> Identity:
        """The identity of a run."""
        # The id comes from the journal, and goes into a search.
        run_id, folder = clean_key(run.run_id), run.savefile.resolve()
        return cls(run_id, folder, remembered.run_id, run.may_be_copy)

    @property
    def savefile(self) -> str:
        """The folder, as the value of a tag."""
        return readable(str(self.folder))

    def owns(self, mlflow_run_id: str, tags: Mapping[str, str]) -> bool:
        """Whether Delve made a run in MLflow for this folder, which may have been moved since."""
        if tags.get(RUN_ID) != self.run_id:
            return False
        if tags.get(SAVEFILE) == self.savefile:
            return True
        if self.hint is None or self.hint not in (mlflow_run_id, tags.get(RESUMED_FROM)):
            return False
        return not self._is_there(Path(tags.get(SAVEFILE, "")))

    def _is_there(self, other: Path) -> bool:
        """Whether the run lies in another folder too: then that one was not moved."""
        try:
            return holds_run(other, self.run_id) and not other.samefile(self.folder)
        except (OSError, ValueError):
            return False

    def records_into(self, tags: Mapping[str, str]) -> bool:
        """Whether a run that somebody else made got metrics of this run."""
        return RECORDS + self.run_id in tags

    def others(self, tags: Mapping[str, str]) -> dict[str, str]:
        """The folders of Delve's other runs that record into a run, and their prefixes."""
        guests = [key.removeprefix(RECORDS) for key in tags if key.startswith(RECORDS)]
        return {
            tags[RECORDS + guest]: tags.get(PREFIX + guest, "")
            for guest in guests
            if guest != self.run_id
        }


def is_prefix(prefix: str) -> bool:
    """Whether metrics can begin with it, and MLflow takes them as they are."""
    return len(prefix) <= 100 and clean_key(f"{prefix}a") == f"{prefix}a"


def shown(text: str) -> str:
    """A text from elsewhere as it can be shown: what would steer a terminal is spelt out."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def readable(text: str) -> str:
    """A text that can be sent: one with bytes that were no characters shows them as numbers."""
    return text.encode(errors="backslashreplace").decode()
