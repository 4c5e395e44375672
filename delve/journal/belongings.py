"""Which files in a run's folder are the run's, one by one: a user may keep others beside them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from delve.files.array_file import is_written_by_delve
from delve.files.array_layout import ARRAY_SUFFIX, ARRAYS, SCALARS_MARK_LENGTH, has_scalars_mark
from delve.files.checksums import FILE_NAME as CHECKSUMS
from delve.files.names import taken_names
from delve.files.plain import is_plain
from delve.journal.contents import Contents
from delve.journal.traces import event_files, figure_groups, kept_journals, layer_tables

_OURS = ("csv", "npy", "plot", "tensorboard", "mlflow", "wandb")  # writers
_FIGURE = re.compile(r"(epoch[0-9]+|heatmap.*)\.png")


def belongings(folder: Path, contents: Contents) -> Iterator[Path]:
    """The files of a run but for its journal, and what other writers have noted as a whole.

    Not those of remote backends: what W&B and MLflow keep on the disk is theirs.

    Args:
        folder: The run's folder.
        contents: What its journal says.
    """
    yield from kept_journals(folder)
    yield from _tables(folder, contents)
    for arrays in taken_names(folder / ARRAYS):
        yield from (path for path in _files(arrays) if _is_array(path))
    for group in figure_groups(folder):
        yield from (path for path in _files(group) if _FIGURE.fullmatch(path.name))
    yield from event_files(folder)
    for writer, state in contents.states.items():
        if not any(writer.startswith(name) for name in _OURS):
            yield from _noted(folder, state)


def _tables(folder: Path, contents: Contents) -> Iterator[Path]:
    noted = [state.get("file") for name, state in contents.states.items() if name.startswith("csv")]
    names = {name for name in noted if isinstance(name, str) and Path(name).name == name}
    found = {folder / name for name in names} if names else {*layer_tables(folder)}
    if noted and not names:
        found.add(folder / "metrics.csv")
    yield from sorted(path for path in found if is_plain(path))


def _is_array(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if path.suffix == ARRAY_SUFFIX:
            return is_written_by_delve(path)
        if path.suffix == ".npz":
            with path.open("rb") as file:
                file.seek(max(path.stat().st_size - SCALARS_MARK_LENGTH, 0))
                return has_scalars_mark(file.read())
    return path.name == CHECKSUMS


def _files(folder: Path) -> Iterator[Path]:
    """All plain files below a folder; no link is followed."""
    if folder.is_symlink():
        return
    for place, _, names in os.walk(folder):
        yield from (path for name in sorted(names) if is_plain(path := Path(place) / name))


def _noted(folder: Path, state: Mapping[str, Any]) -> Iterator[Path]:
    """What a writer remembers by a path relative to the run's folder, as far as it is there."""
    for value in state.values():
        if isinstance(value, str) and value and "://" not in value and "\0" not in value:
            path = Path(value)
            if not path.is_absolute() and path.parts and ".." not in path.parts:
                found = folder / path
                if os.path.lexists(found) and not found.is_symlink():
                    yield found
