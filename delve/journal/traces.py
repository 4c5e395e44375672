"""What tells that a folder without a journal holds a run: files that Delve alone writes."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from delve.files.array_layout import (
    ARRAYS,
    SCALARS,
    SCALARS_MARK_LENGTH,
    array_files,
    has_scalars_mark,
)
from delve.files.epoch_files import EpochFiles
from delve.files.plain import open_plain
from delve.records import Metric
from delve.stats.registry import is_stat_name

_KEPT_JOURNAL = re.compile(r"journal\.[0-9]+\.jsonl")
_EVENTS = re.compile(r"events\.out\.tfevents\..*\.delve", re.DOTALL)
_LONGEST_HEADER = 2**24  # bytes
_MOST_NAMED = 5


def find_traces(folder: Path) -> list[str]:
    """The first few files and folders of Delve's, relative to the folder; empty where none is.

    Others have tables called ``metrics.csv`` too, and folders called ``plots``: what counts is
    what only Delve writes into them. What the folder holds is not changed, and no link followed.
    """
    found = itertools.islice(all_traces(folder), _MOST_NAMED)
    return [str(path.relative_to(folder)) for path in found]


def all_traces(folder: Path) -> Iterator[Path]:
    """All files and folders of Delve's, those of arrays and figures by statistic."""
    return itertools.chain(
        kept_journals(folder),
        layer_tables(folder),
        _arrays(folder),
        figure_groups(folder),
        event_files(folder),
    )


def traced_writers(folder: Path) -> list[str]:
    """The writers of Delve's that have left a file with numbers."""
    found = {
        "csv": layer_tables(folder),
        "npy": (path for path in _arrays(folder) if path.suffix == ".npz"),
        "tensorboard": event_files(folder),
    }
    return [name for name, files in found.items() if any(files)]


def epochs_of_files(folder: Path) -> dict[tuple[str, str], set[int]]:
    """The epochs of files that hold one each and no numbers, by writer and what they are."""
    held = {
        ("npy", "arrays"): array_files(folder / ARRAYS),
        ("plot", "figures"): EpochFiles(folder / "plots", ".png"),
    }
    return {kind: epochs for kind, files in held.items() if (epochs := _epochs_of(files))}


def _epochs_of(files: EpochFiles) -> set[int]:
    groups = set(_groups(files))
    return {
        epoch
        for place in (files.places() if groups else ())
        if files.path / place.relative_to(files.path).parts[0] in groups
        for epoch in files.in_place(place)
    }


def kept_journals(folder: Path) -> Iterator[Path]:
    """Journals of earlier runs."""
    return (path for path in _inside(folder) if _KEPT_JOURNAL.fullmatch(path.name))


def layer_tables(folder: Path) -> Iterator[Path]:
    """The table, if it holds metrics of layers."""
    path = folder / "metrics.csv"
    header = _begin_of(path).partition(b"\n")[0]
    columns = next(csv.reader(io.StringIO(header.decode(errors="replace"))), [])
    if columns[:1] == ["epoch"] and any(map(_is_layer_metric, columns)):
        yield path


def _arrays(folder: Path) -> Iterator[Path]:
    yield from _groups(array_files(folder / ARRAYS))
    path = folder / ARRAYS / SCALARS
    if has_scalars_mark(_end_of(path)):
        yield path


def figure_groups(folder: Path) -> Iterator[Path]:
    """The folders of figures, by mode and statistic."""
    return _groups(EpochFiles(folder / "plots", ".png"))


def event_files(folder: Path) -> Iterator[Path]:
    """Files of TensorBoard's that Delve has written."""
    runs = folder / "tensorboard"
    for run in (runs, *_inside(runs)):
        yield from (path for path in _inside(run) if _EVENTS.fullmatch(path.name))


def _groups(files: EpochFiles) -> Iterator[Path]:
    """The folders of statistics, ``npy/train-saturation``, that hold files of epochs."""
    groups: dict[Path, None] = {}
    if files.path.is_dir() and not files.path.is_symlink():
        for place in files.places():
            group = files.path / place.relative_to(files.path).parts[0]
            if _is_layer_metric(f"{group.name}/layer") and files.in_place(place):
                groups[group] = None
    yield from groups


def _is_layer_metric(name: str) -> bool:
    metric = Metric.parse(name)
    return metric is not None and is_stat_name(metric.stat)


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where it is none, or a link."""
    with contextlib.suppress(OSError):
        if not folder.is_symlink():
            return sorted(folder.iterdir())
    return []


def _begin_of(path: Path) -> bytes:
    with contextlib.suppress(OSError), _opened(path) as file:
        return file.read(_LONGEST_HEADER)
    return b""


def _end_of(path: Path) -> bytes:
    with contextlib.suppress(OSError), _opened(path) as file:
        file.seek(max(os.fstat(file.fileno()).st_size - SCALARS_MARK_LENGTH, 0))
        return file.read(SCALARS_MARK_LENGTH)
    return b""


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(open_plain(path, os.O_RDONLY), "rb")
