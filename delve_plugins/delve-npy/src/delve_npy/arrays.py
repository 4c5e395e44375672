"""The folder of arrays: ``<mode>-<stat>/<layer>/epoch00003.npy``."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from delve.base import get_logger
from delve.errors import RejectedError
from delve.files import (
    Checksums,
    DamagedArrayError,
    array_files,
    array_name,
    array_place,
    is_plain,
    is_remnant,
    is_whole,
    is_written_by_delve,
    may_lack_values,
    read_array,
    refuse_if_larger,
    replacing,
    set_aside,
    write_array,
)
from delve.records import Metric

# What stands in the way of one array's file, and will tomorrow; the others are stored.
_FOR_GOOD = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EEXIST, errno.EILSEQ}

logger = get_logger(__name__)


class ArrayFolder:
    """One file an array. Links in the folder are neither followed nor removed.

    Args:
        path: The folder, which need not exist.
        dtype: What the arrays are stored as.
        is_known: Whether the folder is known for Delve's by more than what its files tell.
    """

    def __init__(
        self, path: Path, dtype: np.dtype[np.floating], is_known: Callable[[], bool] = lambda: False
    ) -> None:
        self.path = path
        self._is_known = is_known
        self._files = array_files(path, self.is_ours)
        self._checksums = Checksums(path)
        self._dtype = dtype
        self._in_the_way: set[Path] = set()  # places where a file of another program was named

    def read_checksums(self, most: int) -> None:
        """Take in what is known of the arrays that are there.

        Args:
            most: The bytes that it can be.

        Raises:
            WriterConfigurationError: It is larger.
        """
        path = self._checksums.path
        if is_plain(path):
            refuse_if_larger(path, most)
        self._checksums.read()
        if not self._checksums.is_usable:
            logger.warning(
                "%s is not Delve's and stays as it is; damage to arrays will not be found", path
            )

    def is_ours(self, file: Path) -> bool:
        """Whether Delve wrote an array's file.

        It bears a mark, or it is no whole array any more and is in the list of checksums, or is
        what a power cut has left. An earlier version's folder has no such list; all in it that is
        called like an array and is not a whole one of another program was Delve's.
        """
        try:
            if is_written_by_delve(file):
                return True
            if is_whole(file):
                return False
            if self._checksums.of(self._name(file)):
                return True
            return (is_remnant(file) or not self._checksums.is_there) and self._is_known()
        except OSError:  # no file, or not ours to read
            return False

    @property
    def holds_ours(self) -> bool:
        """Whether there is any array of Delve's."""
        return self._checksums.is_there or any(map(self.is_ours, self.files()))

    def is_listed(self, file: Path) -> bool:
        """Whether a file is an array of Delve's, or their list of checksums."""
        return file == self._checksums.path or (file in self.files() and self.is_ours(file))

    def write(self, metric: Metric, epoch: int, value: np.ndarray) -> None:
        """Store an array, in place of an earlier one of the same metric and epoch.

        Raises:
            RejectedError: It can never be stored.
            OSError: It could not be stored this time.
        """
        array = self._converted(metric, value)
        try:
            folder = self._files.make_place(*array_place(metric))
            path = folder / array_name(epoch)
            if os.path.lexists(path) and not self.is_ours(path):
                self._name_obstacle(path)
                return
            with replacing(path) as file:
                checksum = write_array(file, array)
                file.flush()
                self._checksums.add(self._name(path), checksum)  # before the file is there
        except OSError as error:
            if error.errno in _FOR_GOOD or self._is_refused_alone(error):
                raise RejectedError(metric, f"{error.strerror}: {error.filename}") from error
            raise

    def _is_refused_alone(self, error: OSError) -> bool:
        """Whether it is this array's place that may not be written to, while the folder may."""
        is_refused = error.errno in (errno.EACCES, errno.EPERM)
        return is_refused and os.access(self.path, os.W_OK | os.X_OK)

    def _converted(self, metric: Metric, value: np.ndarray) -> np.ndarray:
        try:
            with np.errstate(over="ignore"):  # beyond the largest float32 a value becomes infinite
                return np.asarray(value, self._dtype)
        except (TypeError, ValueError) as error:
            raise RejectedError(metric, f"it is no array of numbers ({error})") from error

    def _name_obstacle(self, path: Path) -> None:
        place = path.parent
        if place not in self._in_the_way:
            self._in_the_way.add(place)
            logger.warning(
                "%s is not Delve's and stays as it is, so the array of this epoch is not stored; "
                "move it away",
                path,
            )

    @staticmethod
    def place(metric: Metric) -> str:
        """Where a metric's arrays lie, below the folder."""
        return "/".join(array_place(metric))

    def epochs(self) -> dict[str, set[int]]:
        """The epochs stored, by place."""
        return {
            f"{folder.parent.name}/{folder.name}": set(arrays)
            for folder in self._files.places()
            if (arrays := self._files.in_place(folder))
        }

    def files(self) -> Iterator[Path]:
        """The files of all arrays, and those of others that are called like them."""
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
            if self._is_damaged(file):
                damaged.append(set_aside(file, "damaged"))
        return damaged, 0

    def _is_damaged(self, file: Path) -> bool:
        if not self.is_ours(file):
            return False
        checksums = self._checksums.of(self._name(file))
        try:
            read_array(file, checksums)
        except DamagedArrayError:
            return True
        # A power cut may have taken the line and the values, and left the file with its length.
        return not checksums and is_written_by_delve(file) and may_lack_values(file)

    def cut(self, first: int) -> None:
        """Remove Delve's arrays of epoch ``first`` and later, and folders that this leaves empty.

        Raises:
            WriterConfigurationError: The folder is a link.
        """
        self._files.cut(first)
        self._checksums.keep(lambda name: (self.path / name).is_file())

    def _name(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()
