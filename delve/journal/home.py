"""Where a run's folder lies: where it was, moved, or a copy of another run's.

A folder that was copied holds the same files as its original, the run's identity among them. So
the journal notes where it lies, and a folder that is found elsewhere is told apart by that.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any


class Whereabouts(Enum):
    """What became of a folder since its journal noted where it lies."""

    THERE = "there"  # it lies where it lay
    MOVED = "moved"  # it is the same folder under another path
    COPIED = "copied"  # the one that was noted is still there
    UNKNOWN = "unknown"  # it came from another disk or machine; the other one cannot be seen


@dataclass(frozen=True)
class Home:
    """A place of a run's folder.

    Attributes:
        path: Its absolute path.
        host: The machine.
        inode: The number that the file system gives the folder: it stays when the folder is moved,
            and a copy has another.
    """

    path: str
    host: str
    inode: int

    @classmethod
    def of(cls, folder: Path) -> Home:
        """The place of a folder that is there."""
        return cls(str(folder.resolve()), platform.node(), folder.stat().st_ino)

    @classmethod
    def from_json(cls, value: Any) -> Home | None:
        """A place as a journal notes it; None where none is noted that makes sense."""
        match value:
            case {"path": str(path), "host": str(host), "inode": int(inode)}:
                return cls(path, host, inode)
            case _:
                return None

    def as_json(self) -> Mapping[str, Any]:
        """What :meth:`from_json` makes a place of."""
        return asdict(self)


def whereabouts(folder: Path, noted: Home, holds_the_run: Callable[[Path], bool]) -> Whereabouts:
    """What became of a folder that a journal says to lie at ``noted``.

    Args:
        folder: Where the journal is now.
        noted: What it says.
        holds_the_run: Tells whether a folder's journal is that of the same run.
    """
    now = Home.of(folder)
    if now.path == noted.path:
        # What was restored in its old place goes on; on another machine the path says nothing.
        is_there = now.inode == noted.inode or now.host == noted.host
        return Whereabouts.THERE if is_there else Whereabouts.UNKNOWN
    other = Path(noted.path)
    if _is_same(folder, other):  # by a link, or a second mount
        return Whereabouts.THERE
    if holds_the_run(other):
        return Whereabouts.COPIED
    return Whereabouts.MOVED if now.inode == noted.inode else Whereabouts.UNKNOWN


def _is_same(folder: Path, other: Path) -> bool:
    try:
        return folder.samefile(other)
    except OSError:
        return False
