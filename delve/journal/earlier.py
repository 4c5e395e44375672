"""An earlier run that stands where a new one begins: moved aside whole, into ``earlier/<n>``.

Moved are the journals, and what Delve's own writers have left: tables, arrays, figures and event
files; and the files that other writers have noted in the journal. What a user has put into the
folder stays, and so do remote runs and the folders of W&B and MLflow.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from delve.base.log import get_logger
from delve.errors import JournalError
from delve.journal.belongings import belongings
from delve.journal.contents import Contents, read_contents
from delve.journal.file import JournalFile
from delve.journal.format import HomeLine
from delve.journal.home import Home
from delve.journal.reading import JOURNAL_NAME, contents_in, open_journal

EARLIER = "earlier"

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")

logger = get_logger("delve.journal")


def move_aside(folder: Path) -> Path | None:
    """Move the run of a folder aside, if its journal holds an epoch; returns where it lies then.

    The folder must be locked. A crash in between is made good by the next call.

    Raises:
        JournalError: It cannot be moved.
    """
    try:
        contents = contents_in(folder)
    except JournalError:  # the new run keeps such a journal under another name
        return None
    if contents is None or not contents.places:
        return None
    place = _place(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        for path in list(belongings(folder, contents)):
            _move(path, folder, place)
        (folder / JOURNAL_NAME).rename(place / JOURNAL_NAME)  # last: it tells that all is there
    except OSError as error:
        raise JournalError(
            f"{folder} holds a run of {_epochs(contents)}, which cannot be moved to {place} "
            f"({error.strerror or error}); name another savefile, go on with initial_epoch='auto', "
            "or delete it with overwrite=True"
        ) from error
    with contextlib.suppress(OSError, JournalError):  # then it is taken for a copy, and says so
        _note_home(place)
    logger.warning(
        "%s holds an earlier run of %s, which was moved to %s; go on with a run by "
        "initial_epoch='auto', or delete it with overwrite=True",
        folder,
        _epochs(contents),
        place,
    )
    return place


def _epochs(contents: Contents) -> str:
    count = len(contents.places)
    return f"{count} epoch{'s' * (count != 1)}"


def _place(folder: Path) -> Path:
    """A new place, or the last one if a crash came in between."""
    earlier = folder / EARLIER
    if earlier.is_symlink():
        raise JournalError(
            f"{earlier} is a link, which Delve does not follow; put the folder itself in its place"
        )
    names = [path.name for path in earlier.iterdir()] if earlier.is_dir() else []
    last = max((int(name) for name in names if _NUMBER.fullmatch(name)), default=0)
    is_unfinished = last and not os.path.lexists(earlier / str(last) / JOURNAL_NAME)
    return earlier / str(last if is_unfinished else last + 1)


def _move(path: Path, folder: Path, place: Path) -> None:
    """Move a file to where it lies below the new place; folders that are empty then go."""
    target = place / path.relative_to(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    for parent in path.parents:
        if parent == folder:
            return
        try:
            parent.rmdir()
        except OSError:  # there is something else
            return


def _note_home(place: Path) -> None:
    """Have the journal know that the run lies there now."""
    path = place / JOURNAL_NAME
    with open_journal(path) as read:
        contents = read_contents(read)
    file = JournalFile(path, contents.size, contents.ends_in_newline, contents.last_number)
    file.add(HomeLine(Home.of(place)).encode)
    file.flush()
    file.close()
