"""The folder of figures: ``<mode>-<stat>/epoch00003.png`` and ``<mode>-<stat>/heatmap.png``."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from delve.base import get_logger
from delve.errors import WriterConfigurationError
from delve.files import EpochFiles, epoch_file_name, epoch_of, file_name, replacing, unfinished_name
from delve.records import enumerate_epochs
from delve_plot.signature import is_own, is_whole

HEATMAP = "heatmap.png"
SUFFIX = ".png"

# A link or a file where a folder should be, a folder where a file should be, a name too long.
_IN_THE_WAY = {errno.ELOOP, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}

logger = get_logger(__name__)


class FigureFolder:
    """One file a figure. Delve's own are signed; what bears their name and is not signed stays.

    Links in the folder are neither followed nor removed.

    Args:
        path: The folder, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._files = EpochFiles(path, SUFFIX, companions=[HEATMAP])
        self._named: set[str] = set()

    def write(self, mode: str, stat_name: str, epoch: int | None, png: bytes) -> None:
        """Store a figure of an epoch, or without one the heatmap, in place of an earlier one.

        What is in the way and not Delve's stays. It is named, and the figure is left out.

        Raises:
            OSError: It cannot be written, and perhaps it can later.
        """
        place = file_name(f"{mode}-{stat_name}")
        name = HEATMAP if epoch is None else epoch_file_name(epoch, SUFFIX)
        path = self._files.path / place / name
        try:
            self._files.make_place(place)
            if _is_there(path) and not is_own(path):
                raise FileExistsError(errno.EEXIST, "not a figure of Delve's", str(path))
            with replacing(path) as file:
                file.write(png)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            self._name_once(
                str(error.filename),
                f"{path} is left out, as something is in its way: {error}; move it away",
            )

    def cut(self, first: int) -> None:
        """Remove the figures of epoch ``first`` and later, and the heatmaps, which show them.

        Raises:
            WriterConfigurationError: The folder is a link, or no folder.
        """
        self._check_folder()
        for place in self._files.places():
            removed = False
            for path, ours in self._void(place, first):
                if ours:
                    path.unlink(missing_ok=True)
                    removed = True
                else:
                    self._name_once(
                        str(path), f"{path} was not drawn by Delve's plot writer, and stays"
                    )
            if removed:
                with contextlib.suppress(OSError):  # it is not empty
                    place.rmdir()

    def newest(self) -> dict[str, int]:
        """By place, the last epoch that has a figure of Delve's."""
        newest = {}
        for place in self._files.places():
            held = sorted(self._files.in_place(place).items(), reverse=True)
            epoch = next((epoch for epoch, path in held if is_own(path)), None)
            if epoch is not None:
                newest[place.name] = epoch
        return newest

    def remove_damaged(self, until: float) -> set[tuple[str, int]]:
        """Remove figures that are not whole, as a power cut leaves them; says of which epochs.

        Args:
            until: When to look at no other, on the monotonic clock.

        Returns:
            The place and the epoch of each.
        """
        removed = set()
        for place in self._files.places():
            for epoch, path in sorted(self._files.in_place(place).items(), reverse=True):
                if time.monotonic() > until:
                    break
                if is_whole(path):
                    continue
                if not is_own(path):
                    self._name_once(
                        str(path),
                        f"{path} is no whole figure, and stays; if it was Delve's, remove it",
                    )
                else:
                    path.unlink()
                    removed.add((place.name, epoch))
        if removed:
            logger.warning(
                "%s: figures of epochs %s were damaged and are removed; what the journal holds of "
                "them is drawn again",
                self._files.path,
                enumerate_epochs(sorted({epoch for _, epoch in removed})),
            )
        return removed

    def _void(self, place: Path, first: int) -> Iterator[tuple[Path, bool]]:
        """What bears the name of a void figure, or of one that is not whole; and whose it is."""
        for path in _plain_files(place):
            epoch = epoch_of(path.name, SUFFIX)
            if path.name == HEATMAP or (epoch is not None and epoch >= first):
                yield path, is_own(path)
            elif _is_unfinished(path.name):  # a crash may have left nothing of it
                yield path, is_own(path) or path.stat().st_size == 0

    def _check_folder(self) -> None:
        path = self._files.path
        if path.is_symlink():
            raise WriterConfigurationError(
                f"{path} is a link, and Delve removes no files behind links; replace it by a "
                "folder, or name another savefile"
            )
        if path.exists() and not path.is_dir():
            raise WriterConfigurationError(
                f"{path} is no folder, and Delve's figures go into one of that name; move it "
                "away, or name another savefile"
            )

    def _name_once(self, path: str, message: str) -> None:
        if path not in self._named:
            self._named.add(path)
            logger.warning("%s", message)


def _is_unfinished(name: str) -> bool:
    target = name.removeprefix(".").removesuffix(".tmp")
    is_ours = target == HEATMAP or epoch_of(target, SUFFIX) is not None
    return is_ours and name == unfinished_name(target)


def _is_there(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        raise FileExistsError(errno.EEXIST, "not a plain file", str(path))
    return True


def _plain_files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(e) for e in entries if e.is_file(follow_symlinks=False))
