"""The folder of arrays: ``<mode>-<stat>/<layer>/epoch00003.npy``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from delve.epoch_files import EpochFiles, epoch_file_name
from delve.files import file_name, replacing
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
            np.save(file, np.asarray(value, self._dtype), allow_pickle=False)

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

    def cut(self, first: int) -> None:
        """Remove the arrays of epoch ``first`` and later, and folders that this leaves empty.

        Raises:
            WriterConfigurationError: The folder is a link.
        """
        self._files.cut(first)
