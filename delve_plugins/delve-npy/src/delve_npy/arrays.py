"""The folder of arrays: ``<mode>-<stat>/<layer>/epoch00003.npy``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from delve.array_file import DamagedArrayError, read_array, write_array
from delve.epoch_files import EpochFiles, epoch_file_name
from delve.files import file_name, replacing, set_aside
from delve.records import Metric

SUFFIX = ".npy"


class ArrayFolder:
    """One file an array. Links in the folder are neither followed nor removed.

    Args:
        path: The folder, which need not exist.
        dtype: What the arrays are stored as.
    """

    def __init__(self, path: Path, dtype: np.dtype[np.floating]) -> None:
        self._files = EpochFiles(path, SUFFIX, depth=2)
        self._dtype = dtype

    def write(self, metric: Metric, epoch: int, value: np.ndarray) -> None:
        """Store an array, in place of an earlier one of the same metric and epoch."""
        folder = self._files.make_place(*self.place(metric).split("/"))
        path = folder / epoch_file_name(epoch, SUFFIX)
        with replacing(path) as file, np.errstate(over="ignore"):
            # Beyond the largest float32 a value becomes infinite.
            write_array(file, np.asarray(value, self._dtype))

    @staticmethod
    def place(metric: Metric) -> str:
        """Where a metric's arrays lie, below the folder."""
        return f"{file_name(f'{metric.mode}-{metric.stat}')}/{file_name(metric.layer)}"

    def epochs(self) -> dict[str, set[int]]:
        """The epochs stored, by place."""
        return {
            f"{folder.parent.name}/{folder.name}": set(arrays)
            for folder in self._files.places()
            if (arrays := self._files.in_place(folder))
        }

    def files(self) -> Iterator[Path]:
        """All arrays' files."""
        for folder in self._files.places():
            yield from self._files.in_place(folder).values()

    def set_damaged_aside(self, until: float) -> tuple[list[Path], int]:
        """Read arrays, the newest first, and rename those that are not as they were written.

        Args:
            until: When to begin no other, on the monotonic clock.

        Returns:
            The new names of the damaged, and how many arrays there was no time for.
        """
        numbered = [
            (epoch, file)
            for folder in self._files.places()
            for epoch, file in self._files.in_place(folder).items()
        ]
        files = [file for _, file in sorted(numbered, reverse=True)]
        damaged: list[Path] = []
        for number, file in enumerate(files):
            if time.monotonic() > until:
                return damaged, len(files) - number
            try:
                read_array(file)
            except DamagedArrayError:
                damaged.append(set_aside(file, "damaged"))
        return damaged, 0

    def cut(self, first: int) -> None:
        """Remove the arrays of epoch ``first`` and later, and folders that this leaves empty.

        Raises:
            WriterConfigurationError: The folder is a link.
        """
        self._files.cut(first)
