"""The journal in a run's folder: opened, and asked for what others want to know of it."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path
from typing import BinaryIO

from delve.errors import JournalError
from delve.files.plain import open_plain
from delve.files.whole import unfinished_name
from delve.journal.contents import Contents, read_contents
from delve.journal.format import ForkLine, RunLine, first_words, line_from
from delve.journal.lines import is_whole, lines_of, parse
from delve.records import enumerate_epochs

JOURNAL_NAME = "journal.jsonl"
# Those that say which run it is; a journal may be long, and the other lines are not parsed.
_IDENTIFYING = (first_words(RunLine), first_words(ForkLine))


def read_epochs(folder: Path) -> list[int] | None:
    """The epochs that the folder's journal holds, in rising order; None where there is none.

    A run that was killed before its first line was whole has recorded none.

    Raises:
        JournalError: It cannot be read.
    """
    contents = contents_in(folder)
    return None if contents is None else list(contents.places)


def next_epoch(folder: Path, contents: Contents) -> int:
    """The epoch at which a run goes on whose journal holds this.

    That is the one after the last recorded, or that of a later resume which has recorded none.

    Raises:
        JournalError: No line tells any more where the run goes on.
    """
    if contents.damaged_lines and not contents.places:
        raise JournalError(
            f"{folder / JOURNAL_NAME} holds no epoch that can be read, but unreadable lines: "
            f"{enumerate_epochs(contents.damaged_lines)}; give initial_epoch as a number, or have "
            f"`delve repair {shlex.quote(str(folder))}` write it anew from what backends hold"
        )
    after_the_last = next(reversed(contents.places), -1) + 1
    return max([after_the_last, *contents.resumes[-1:]])


def contents_in(folder: Path) -> Contents | None:
    """What the folder's journal holds: nothing yet where its first line is not whole.

    None where there is no journal.

    Raises:
        JournalError: It cannot be read.
    """
    path = folder / JOURNAL_NAME
    try:
        with open_journal(path) as file:
            first, _ = next(lines_of(file), (b"", 0))
            has_begun = first.endswith(b"\n") or is_whole(first)
            file.seek(0)
            return read_contents(file) if has_begun else Contents()
    except FileNotFoundError:
        was_begun = os.path.lexists(path.with_name(unfinished_name(JOURNAL_NAME)))
        return Contents() if was_begun else None


def holds_run(folder: Path, run_id: str) -> bool:
    """Whether a folder has the journal of this run; one that cannot be read tells nothing."""
    last = None
    try:
        with open_journal(folder / JOURNAL_NAME) as file:
            for content, _ in lines_of(file):
                if content.startswith(_IDENTIFYING):
                    with contextlib.suppress(ValueError):
                        last = _run_id_of(content)
    except (OSError, JournalError):
        return False
    return last == run_id


def _run_id_of(content: bytes) -> str | None:
    match line_from(parse(content)):
        case RunLine(run_id=run_id) | ForkLine(run_id=run_id):
            return run_id
        case _:
            return None


def open_journal(path: Path) -> BinaryIO:
    """Open a journal for reading.

    Raises:
        FileNotFoundError: There is none.
        NotADirectoryError: The folder is a file.
        JournalError: It cannot be opened, or is no plain file.
    """
    return open(path, "rb", opener=lambda _, flags: journal_descriptor(path, flags))


def journal_descriptor(path: Path, flags: int) -> int:
    """A descriptor of a journal, opened as it is: somebody else may have made up the folder.

    Raises:
        FileNotFoundError: There is none.
        NotADirectoryError: The folder is a file.
        JournalError: It cannot be opened, or is no plain file.
    """
    try:
        return open_plain(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        if path.is_symlink():
            raise JournalError(
                f"{path} is a link, which Delve does not follow; put the file in its place, or "
                "name another savefile"
            ) from error
        raise JournalError(
            f"{path} cannot be opened ({error.strerror}); change its permissions, or move it away"
        ) from error
