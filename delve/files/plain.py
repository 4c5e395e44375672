"""Files that are files: no links, no pipes, and no larger than a run can have made them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from delve.errors import WriterConfigurationError

# A link would lead elsewhere, to open a pipe would wait for somebody at its other end, and Windows
# would change the ends of lines.
_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_plain(path: Path, flags: int) -> int:
    """A descriptor of a file that is a file: no link is followed, no pipe waited for.

    Raises:
        OSError: It cannot be opened, or is something else.
    """
    descriptor = os.open(path, flags | _AS_IT_IS, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return descriptor


def is_plain(path: Path) -> bool:
    """Whether a file stands there: neither a link, nor a folder, a pipe or a device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def refuse_unless_plain(path: Path) -> None:
    """Refuse what stands in place of a backend's file and is none, before anybody waits for it.

    Raises:
        WriterConfigurationError: There is something, and it is no plain file.
    """
    if os.path.lexists(path) and not is_plain(path):
        raise WriterConfigurationError(
            f"{path} is {_kind(path)}, where Delve keeps a file; move it away, or name another "
            "savefile"
        )


def refuse_if_larger(path: Path, most: int) -> None:
    """Refuse a file that no run of Delve can have made so large, before it fills the memory.

    Raises:
        WriterConfigurationError: It is larger than ``most`` bytes.
    """
    if (size := path.lstat().st_size) > most:
        raise WriterConfigurationError(
            f"{path} holds {size} bytes, far more than the journal beside it explains; move it "
            "away, and it is written anew from the journal"
        )


def _kind(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "no plain file"
