"""Recorded runs read into memory, one or all that a folder holds."""

from __future__ import annotations

import os
from pathlib import Path

from delve.base.local_path import local_path
from delve.base.log import get_logger
from delve.errors import JournalError
from delve.journal.finding import find_runs
from delve.journal.loaded_run import LoadedRun
from delve.journal.loaded_runs import LoadedRuns
from delve.journal.status import status_of
from delve.journal.stored_run import read_with_lines
from delve.journal.table import Table

logger = get_logger("delve.journal")


def load(folder: str | os.PathLike[str]) -> LoadedRun:
    """Read a run, also one that is being recorded; nothing is changed or locked.

    Args:
        folder: The run's folder, the ``savefile`` of its tracker.

    Raises:
        JournalError: There is no run, or it cannot be read.
    """
    path = local_path("folder", folder)
    return _loaded(path, path.resolve().name)


def load_all(folder: str | os.PathLike[str]) -> LoadedRuns:
    """Read all runs that a folder holds, however deep they lie, and the folder's own.

    One that cannot be read is left out, with a warning. In natural order of their names, which are
    their paths below the folder.

    Raises:
        JournalError: There is none.
    """
    top = local_path("folder", folder)
    runs = []
    for path in find_runs(top):
        try:
            runs.append(_loaded(path, _name_below(path, top)))
        except JournalError as error:
            logger.warning("left out: %s", error)
    if not runs:
        what = "holds no run" if top.is_dir() else "is not a folder"
        raise JournalError(f"{top} {what} that can be read; name a folder that holds runs")
    return LoadedRuns(runs, top.resolve().name)


def _name_below(path: Path, top: Path) -> str:
    return path.relative_to(top).as_posix() if path != top else top.resolve().name


def _loaded(folder: Path, name: str) -> LoadedRun:
    run, lines = read_with_lines(folder)
    return LoadedRun(name, run, Table.of(lines), status_of(run))
