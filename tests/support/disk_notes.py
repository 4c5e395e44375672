"""What a process has had the disk confirm, noted outside of the folder that it writes to.

A power cut leaves what was fsynced, and of all else the file system chooses. So this notes each
fsync with the size that the file had, and keeps what a rename, a removal or a truncation took
away, which a power cut may bring back. Only what the process does by Python's own functions is
noted; of what others write (wandb-core, C libraries) nothing counts as confirmed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOTES = "notes.jsonl"
KEPT = "kept"


class DiskNotes:
    """Notes what this process does below ``folder``, from now on to its end.

    Args:
        folder: The folder whose files a power cut is to meet.
        notes: The folder to note into; processes may share it one after another.
    """

    def __init__(self, folder: Path, notes: Path) -> None:
        self._folder = folder
        self._kept = notes / KEPT
        self._kept.mkdir(parents=True, exist_ok=True)
        self._number = len(list(self._kept.iterdir()))
        self._file = os.open(notes / NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._is_busy = False  # so that the own operations are not noted
        fsync = os.fsync

        def noting(descriptor: Any) -> None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            before = self._confirmed(number)
            begun = time.monotonic()
            fsync(descriptor)
            self._note(**before, seconds=time.monotonic() - begun)

        os.fsync = noting  # type: ignore[assignment]
        sys.addaudithook(self._audit)

    def _confirmed(self, descriptor: int) -> dict[str, Any]:
        status = os.fstat(descriptor)
        if not stat.S_ISDIR(status.st_mode):
            return {"synced": status.st_ino, "size": status.st_size}
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        names = {entry.name: entry.inode() for entry in os.scandir(path)}
        return {"folder": str(path), "names": names}

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        keep = _TAKING_AWAY.get(event)
        if keep is None or self._is_busy:
            return
        source, target = arguments[0], arguments[1 if event == "os.rename" else 0]
        if isinstance(target, str | Path) and Path(target).is_relative_to(self._folder):
            self._is_busy = True
            try:
                self._keep(Path(source), Path(target), keep)
            finally:
                self._is_busy = False

    def _keep(self, source: Path, path: Path, keep: Callable[[Path, Path], object]) -> None:
        """Keep what stands there under another name, if anything does."""
        if path.is_symlink() or (path.exists() and not path.is_file()):
            return
        kept = self._kept / str(self._number)
        with contextlib.suppress(FileNotFoundError):
            keep(path, kept)
        self._number += 1
        self._note(replaced=str(path), by=str(source), kept=kept.name if kept.exists() else None)

    def _note(self, **note: Any) -> None:
        os.write(self._file, json.dumps(note).encode() + b"\n")


# What a truncated file held goes by copying: the file itself stays what it is.
_TAKING_AWAY: dict[str, Callable[[Path, Path], object]] = {
    "os.rename": os.link,
    "os.remove": os.link,
    "os.truncate": shutil.copyfile,
}


@dataclass
class Confirmed:
    """What a power cut must leave, and what it may bring back.

    Attributes:
        sizes: By inode, how many bytes the disk has confirmed.
        names: By folder, the names that it has, with their inodes.
        earlier: By path, what stood there, as paths of copies, None where nothing did.
        sources: By path, the names that were renamed to it.
        slowest: How long the longest fsync took, in seconds.
    """

    sizes: dict[int, int] = field(default_factory=dict)
    names: dict[str, dict[str, int]] = field(default_factory=dict)
    earlier: dict[str, list[Path | None]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0

    @classmethod
    def read(cls, notes: Path) -> Confirmed:
        """What processes have noted there."""
        confirmed = cls()
        with contextlib.suppress(FileNotFoundError):
            for line in (notes / NOTES).read_bytes().splitlines():
                confirmed._add(json.loads(line), notes / KEPT)
        return confirmed

    def _add(self, note: dict[str, Any], kept: Path) -> None:
        self.slowest = max(self.slowest, note.get("seconds", 0.0))
        match note:
            case {"synced": inode, "size": size}:
                self.sizes[inode] = size
            case {"folder": folder, "names": names}:
                self.names[folder] = names
            case {"replaced": path, "by": source, "kept": name}:
                self.earlier.setdefault(path, []).append(kept / name if name else None)
                if source != path:
                    self.sources[path] = source
