"""One tracker a folder: a lock against a second one, here or in another process."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from delve.errors import ArgumentError, RunFolderInUseError

FILE_NAME = ".lock"

# A process can take its own lock twice, so trackers of one process are told apart here.
_open_folders: set[Path] = set()

logger = logging.getLogger(__name__)


class FolderLock:
    """Holds a run's folder until :meth:`release`, or until the process ends in any way.

    The lock is ``lockf``'s, on a file that is opened once: a forked child that outlives the
    process does not keep it.

    Args:
        folder: The run's folder; it is made if need be.

    Raises:
        RunFolderInUseError: Another tracker holds it.
        ArgumentError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        if self._folder in _open_folders:
            raise RunFolderInUseError(_in_use(folder, "this process"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A link would have a file made wherever it leads.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            self._file = os.open(folder / FILE_NAME, flags, 0o666)
        except OSError as error:
            if (folder / FILE_NAME).is_symlink():
                raise ArgumentError(
                    f"savefile: {folder / FILE_NAME} is a link, which Delve does not follow; "
                    "remove it"
                ) from error
            raise ArgumentError(
                f"savefile: the folder {folder} cannot be written ({error.strerror}); "
                "change its permissions or name another"
            ) from error
        self._lock(folder)
        _open_folders.add(self._folder)

    def release(self) -> None:
        """Let another tracker have the folder; a second call does nothing."""
        if self._folder in _open_folders and self._file >= 0:
            os.close(self._file)
            self._file = -1
            _open_folders.discard(self._folder)

    def _lock(self, folder: Path) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            logger.warning("%s is not locked: this system has no fcntl", folder)
            return
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise RunFolderInUseError(_in_use(folder, "another process")) from error


def _in_use(folder: Path, owner: str) -> str:
    return (
        f"{folder} is in use by a tracker of {owner}; close that one first, or name another folder"
    )
