"""The folder of arrays: ``<mode>-<stat>/<layer>/epoch00003.npy``."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from delve.files import file_name, replacing
from delve.records import MODES, Metric

_GROUP = re.compile(rf"(?:{'|'.join(MODES)})-.+", re.DOTALL)
_ARRAY = re.compile(r"epoch(\d{5,})\.npy")
_TEMPORARY = re.compile(r"\.epoch\d{5,}\.npy\.tmp")  # left by a crash


class ArrayFolder:
    """One file an array. Links in the folder are neither followed nor removed.

    Args:
        path: The folder, which need not exist.
        dtype: What the arrays are stored as.
    """

    def __init__(self, path: Path, dtype: np.dtype[np.floating]) -> None:
        self.path = path
        self._dtype = dtype

    def write(self, metric: Metric, epoch: int, value: np.ndarray) -> None:
        """Store an array, in place of an earlier one of the same metric and epoch."""
        folder = self.path / self.place(metric)
        folder.mkdir(parents=True, exist_ok=True)
        for level in (folder, folder.parent):
            if level.is_symlink():
                raise OSError(errno.ELOOP, "a link in the place of a folder", str(level))
        with replacing(folder / f"epoch{epoch:05d}.npy") as file, np.errstate(over="ignore"):
            # Beyond the largest float32 a value becomes infinite.
            np.save(file, np.asarray(value, self._dtype), allow_pickle=False)

    @staticmethod
    def place(metric: Metric) -> str:
        """Where a metric's arrays lie, below the folder."""
        return f"{file_name(f'{metric.mode}-{metric.stat}')}/{file_name(metric.layer)}"

    def epochs(self) -> dict[str, set[int]]:
        """The epochs stored, by place."""
        return {
            f"{folder.parent.name}/{folder.name}": {epoch for epoch, _ in arrays}
            for folder in self._folders()
            if (arrays := list(_arrays(folder)))
        }

    def files(self) -> Iterator[Path]:
        """All arrays' files."""
        for folder in self._folders():
            yield from (path for _, path in _arrays(folder))

    def cut(self, first: int) -> None:
        """Remove the arrays of epoch ``first`` and later, and folders that this leaves empty."""
        for folder in list(self._folders()):
            for epoch, path in list(_arrays(folder)):
                if epoch >= first:
                    path.unlink(missing_ok=True)
            for entry in _entries(folder):
                if _TEMPORARY.fullmatch(entry.name):
                    Path(entry).unlink(missing_ok=True)
            for emptied in (folder, folder.parent):
                with contextlib.suppress(OSError):
                    emptied.rmdir()

    def _folders(self) -> Iterator[Path]:
        for group in _entries(self.path):
            if _GROUP.fullmatch(group.name) and group.is_dir(follow_symlinks=False):
                for layer in _entries(Path(group)):
                    if layer.is_dir(follow_symlinks=False):
                        yield Path(layer)


def _arrays(folder: Path) -> Iterator[tuple[int, Path]]:
    for entry in _entries(folder):
        match = _ARRAY.fullmatch(entry.name)
        if match and entry.is_file(follow_symlinks=False):
            yield int(match[1]), Path(entry)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
