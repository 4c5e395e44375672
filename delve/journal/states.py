"""What the journals in a folder tell of the writers: also those of earlier runs, kept there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delve.errors import JournalError
from delve.journal.contents import read_contents
from delve.journal.reading import JOURNAL_NAME, open_journal

_SPARE = 256 << 20  # bytes
_TIMES_THE_JOURNAL = 16


@dataclass(frozen=True)
class RememberedState:
    """What one writer remembered in one journal.

    Attributes:
        folder: Where the journal lies.
        writer: The writer's name.
        state: What it remembered, which is empty where it was only opened.
        metrics: The names of all metrics of that journal.
    """

    folder: Path
    writer: str
    state: Mapping[str, Any]
    metrics: frozenset[str]


def remembered_states(folder: Path) -> Iterator[RememberedState]:
    """The states of all writers in the folder's journal, and in those of earlier runs there.

    A journal that cannot be read tells nothing.
    """
    stem, _, suffix = JOURNAL_NAME.rpartition(".")
    kept = sorted(folder.glob(f"{stem}.*.{suffix}"))
    moved = sorted(folder.glob(f"earlier/*/{JOURNAL_NAME}"))
    for path in (folder / JOURNAL_NAME, *kept, *moved):
        with contextlib.suppress(JournalError, OSError), open_journal(path) as file:
            contents = read_contents(file)
            metrics = frozenset(contents.metrics)
            # A copied folder has the files of the run that it was copied from.
            for states in (contents.origin_states, contents.states):
                for writer, state in states.items():
                    yield RememberedState(path.parent, writer, state, metrics)


def most_bytes(folder: Path) -> int:
    """How large a table of the run in this folder can be, with much to spare.

    The journal holds each value of it, with its name; a table has a comma where an epoch has none.
    """
    try:
        journal = (folder / JOURNAL_NAME).lstat().st_size
    except OSError:
        journal = 0
    return _SPARE + _TIMES_THE_JOURNAL * journal
