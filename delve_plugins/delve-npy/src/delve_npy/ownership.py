"""What tells which folder and which file of scalars is the run's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from delve.files import SCALARS, is_plain, taken_names
from delve.journal import remembered_states
from delve.records import RunInfo
from delve_npy.scalars import is_table

FOLDER, TABLE = "folder", "scalars"  # what the writer remembers

_ARRAY_WRITER = re.compile(r"npy", re.IGNORECASE)


def recalled(run: RunInfo) -> Mapping[str, Any]:
    """What the writer remembered of the files in the run's folder, if need be before a copy."""
    return {**(run.origin.state if run.origin else {}), **run.state}


def remembered_folder(wanted: Path, run: RunInfo) -> Path | None:
    """The folder that the run wrote into; None where nothing that can be used tells it."""
    name = recalled(run).get(FOLDER)
    stem = re.escape(wanted.name)
    if isinstance(name, str) and re.fullmatch(rf"{stem}(-delve(-[0-9]{{1,4}})?)?", name):
        return wanted.with_name(name)
    return None


def known_tables(folder: Path, wanted: Path, run: RunInfo) -> frozenset[str]:
    """What the files of scalars are called that the run, or a journal beside it, tells of.

    Args:
        folder: Where they would be; with none, nothing tells that Delve writes there.
        wanted: What that folder is called, if no other program's is.
        run: The run.
    """
    tables = []
    if remembered_folder(wanted, run) == folder:
        tables.append(recalled(run).get(TABLE, SCALARS))
    for remembered in remembered_states(run.savefile):
        if remembered.folder.resolve() == folder.parent.resolve():
            name = remembered.state.get(FOLDER)
            if name is None and _ARRAY_WRITER.search(remembered.writer):
                name = wanted.name  # which an earlier version does not tell
            if name == folder.name:
                tables.append(remembered.state.get(TABLE, SCALARS))
    return frozenset(table for table in tables if isinstance(table, str))


def our_table(path: Path, known: Callable[[], frozenset[str]]) -> Path | None:
    """The file of scalars that Delve has written, if there is one.

    Args:
        path: What it is called, if no file of another program is.
        known: The names of those that the run is known to have.
    """
    names = (name for name in taken_names(path) if is_plain(name))
    return next((name for name in names if is_table(name, partial(_is_among, name, known))), None)


def _is_among(path: Path, known: Callable[[], frozenset[str]]) -> bool:
    return path.name in known()
