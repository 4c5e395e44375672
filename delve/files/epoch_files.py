"""Files that hold one epoch each, ``train-saturation/epoch00003.png``: named, found, cut off."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path

from delve.errors import WriterConfigurationError
from delve.files.whole import unfinished_name
from delve.records import MODES

_GROUP = re.compile(rf"(?:{'|'.join(MODES)})-.+", re.DOTALL)
_STEM = re.compile(r"epoch([0-9]{5,})")


def epoch_file_name(epoch: int, suffix: str) -> str:
    """The name of an epoch's file, ``epoch00003.npy``: in a folder they stand in order."""
    return f"epoch{epoch:05d}{suffix}"


def epoch_of(name: str, suffix: str) -> int | None:
    """The epoch of a file of this name; None where it is not the name of an epoch's file."""
    match = _STEM.fullmatch(name.removesuffix(suffix))
    if match and name == epoch_file_name(int(match[1]), suffix):
        return int(match[1])
    return None


class EpochFiles:
    """All files of one kind in a folder, each in a place of its metric's: ``train-saturation``.

    Only what bears such names can be Delve's: ``<mode>-<stat>`` is the first part of each place.
    Another program may use them too, so what is removed must be known for Delve's by more than its
    name. Links below the folder are neither followed nor removed.

    Args:
        path: The folder, which need not exist.
        suffix: What the files' names end in, with the dot.
        depth: How many folders a place is, one in the other.
        companions: Names of files beside those of the epochs, which show them all.
        is_ours: Whether Delve wrote a file of such a name; without it the name alone tells.
    """

    def __init__(
        self,
        path: Path,
        suffix: str,
        depth: int = 1,
        companions: Collection[str] = (),
        is_ours: Callable[[Path], bool] | None = None,
    ) -> None:
        self.path = path
        self.suffix = suffix
        self._depth = depth
        self._companions = companions
        self._is_ours = is_ours or _by_name

    def make_place(self, *names: str) -> Path:
        """The folder of a place, made if need be.

        Raises:
            OSError: It cannot be made, or a link is in its way.
        """
        folder = self.path.joinpath(*names)
        for level in (folder, *folder.parents[: len(names) - 1]):
            if level.is_symlink():
                raise OSError(errno.ELOOP, "a link in the place of a folder", str(level))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def places(self) -> list[Path]:
        """The folders of all places that are there."""
        folders = [group for group in _folders(self.path) if _GROUP.fullmatch(group.name)]
        for _ in range(self._depth - 1):
            folders = [inner for folder in folders for inner in _folders(folder)]
        return folders

    def in_place(self, folder: Path) -> dict[int, Path]:
        """The files in one place by epoch."""
        files = ((epoch_of(file.name, self.suffix), file) for file in _files(folder))
        return {epoch: file for epoch, file in files if epoch is not None}

    def cut(self, first: int, companions: bool = False) -> None:
        """Remove Delve's files of epoch ``first`` and later, and folders that this leaves empty.

        What a crash has left of a file that was being written goes too.

        Args:
            first: The first epoch to remove.
            companions: Whether to remove the files beside those of the epochs.

        Raises:
            WriterConfigurationError: The folder itself is a link.
        """
        if self.path.is_symlink():
            raise WriterConfigurationError(
                f"{self.path} is a link, and Delve removes no files behind links; replace it by a "
                "folder, or name another savefile"
            )
        for place in self.places():
            removed = False
            for file in _files(place):
                epoch = epoch_of(file.name, self.suffix)
                is_void = epoch is not None and epoch >= first
                is_companion = companions and file.name in self._companions
                is_unwanted = (is_void or is_companion) and self._is_ours(file)
                if is_unwanted or self._is_torn(file.name):
                    file.unlink(missing_ok=True)
                    removed = True
            for emptied in (place, *place.parents[: self._depth - 1]) if removed else ():
                with contextlib.suppress(OSError):  # it is not empty
                    emptied.rmdir()

    def _is_torn(self, name: str) -> bool:
        target = name.removeprefix(".").removesuffix(".tmp")
        is_ours = epoch_of(target, self.suffix) is not None or target in self._companions
        return is_ours and name == unfinished_name(target)


def _by_name(_file: Path) -> bool:
    """Take a file for Delve's."""
    return True


def _folders(folder: Path) -> list[Path]:
    return [Path(entry) for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)]


def _files(folder: Path) -> list[Path]:
    return [Path(entry) for entry in _entries(folder) if entry.is_file(follow_symlinks=False)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
