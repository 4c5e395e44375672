"""One tracker a folder: a lock against a second one, here or in another process."""

from __future__ import annotations

import errno
import os
import struct
import sys
from pathlib import Path

from delve.base.log import get_logger
from delve.errors import ArgumentError, RunFolderInUseError
from delve.files.plain import open_plain

LOCK_NAME = ".lock"

_HELD_BY_ANOTHER = (errno.EACCES, errno.EAGAIN)

logger = get_logger(__name__)


class FolderLock:
    """Holds a run's folder until :meth:`release`, or until the process ends in any way.

    A forked child that outlives the process does not keep the folder.

    Args:
        folder: The run's folder; it is made if need be.

    Raises:
        RunFolderInUseError: Another tracker holds it.
        ArgumentError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        if self._folder in _held:
            raise RunFolderInUseError(_in_use(folder, "this process"))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A link would have a file made wherever it leads.
            self._file = open_plain(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if (folder / LOCK_NAME).is_symlink():
                raise ArgumentError(
                    f"savefile: {folder / LOCK_NAME} is a link, which Delve does not follow; "
                    "remove it"
                ) from error
            raise ArgumentError(
                f"savefile: the folder {folder} cannot be written ({error.strerror}); "
                "change its permissions or name another"
            ) from error
        self._lock(folder)
        _held[self._folder] = self

    def release(self) -> None:
        """Let another tracker have the folder; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            _held.pop(self._folder, None)

    def _lock(self, folder: Path) -> None:
        try:
            _lock_file(self._file)
        except ImportError:  # Windows
            logger.warning("%s is not locked: this system has no fcntl", folder)
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                os.close(self._file)
                raise RunFolderInUseError(_in_use(folder, "another process")) from error
            logger.warning(
                "%s is not locked, because its file system has no locks (%s); see to it that no "
                "other process records into it",
                folder,
                error.strerror,
            )


def is_held(folder: Path) -> bool | None:
    """Whether a tracker holds a folder, here or elsewhere; None where the system cannot tell.

    Nothing is made or locked for that.
    """
    if folder.resolve() in _held:  # to open the file here might let go of its lock
        return True
    try:
        file = open_plain(folder / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return False if not os.path.lexists(folder / LOCK_NAME) else None
    try:
        return _is_locked(file)
    except (ImportError, OSError):
        return None
    finally:
        os.close(file)


# Trackers of one process are told apart here, also where nothing can be locked.
_held: dict[Path, FolderLock] = {}


def _lock_file(file: int) -> None:
    """Lock the whole of an open file, or raise OSError at once.

    A process loses the lock of ``lockf`` when it closes the file anywhere, as a copy of the folder
    or an upload of it does. On Linux a lock can belong to the open file instead; it reaches the
    same servers as ``lockf``'s, where ``flock`` often stays on one machine.
    """
    import fcntl

    if sys.platform == "linux":
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # also where the kernel knows no other


def _is_locked(file: int) -> bool:
    """Whether somebody has the whole of a file locked."""
    import fcntl

    if sys.platform != "linux":
        raise ImportError("no way is known here")
    told = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_RDLCK))
    kind: int = struct.unpack_from("h", told)[0]
    return kind != fcntl.F_UNLCK


def _whole_file(kind: int) -> bytes:
    """A lock of this kind as the system takes it."""
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, 0, 0, 0)


def _let_go() -> None:
    """Close the lock files in a forked child, which inherits them open.

    A lock lasts as long as any process has its file open: a child that outlives the tracker's
    process would keep the folder locked. The parent keeps its lock, as its own file stays open.
    """
    for lock in list(_held.values()):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _in_use(folder: Path, owner: str) -> str:
    return (
        f"{folder} is in use by a tracker of {owner}; close that one first, or name another folder"
    )
