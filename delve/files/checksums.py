"""The checksums of array files, in a file of their own: ``npy/checksums.jsonl``."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from delve.base.log import get_logger
from delve.files.plain import is_plain, open_plain
from delve.files.whole import replacing

FILE_NAME = "checksums.jsonl"

_BEGINNING = b'{"file": "'  # of each line

logger = get_logger(__name__)


class Checksums:
    """What the array files of a folder were when they were written, one line each.

    A line is there before its file is, so that a file that a killed process left is known for
    Delve's. Of a file that was written twice both lines count: a crash between line and file
    leaves the one before, and neither is damaged. Without a line nothing is known of a file.

    Args:
        folder: The folder, which need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._held: dict[str, set[str]] = {}  # by the file's path below the folder
        self._is_torn = False  # whether the last line may be
        self.is_usable = True  # whether the file is Delve's, or not there

    def read(self) -> None:
        """Take in what the file holds; lines that a fault has torn are passed over."""
        self._held, self._is_torn, self.is_usable = {}, False, True
        if not os.path.lexists(self.path):
            return
        if not is_plain(self.path):
            self.is_usable = False
            return
        is_remnant = True  # of a power cut: nothing, zeros, or a part of a first line
        with os.fdopen(open_plain(self.path, os.O_RDONLY), "rb") as file:
            for line in file:
                is_remnant = is_remnant and _BEGINNING.startswith(
                    line.strip(b"\0")[: len(_BEGINNING)]
                )
                self._is_torn = not line.endswith(b"\n")
                with contextlib.suppress(ValueError, RecursionError):
                    match json.loads(line):
                        case {"file": str(name), "crc32": str(checksum)}:
                            self._held.setdefault(name, set()).add(checksum)
        # A file in which nothing is Delve's is somebody else's.
        self.is_usable = bool(self._held) or is_remnant

    @property
    def is_there(self) -> bool:
        """Whether the folder has a file of checksums, and it is Delve's."""
        return self.is_usable and self.path.exists()

    def of(self, name: str) -> frozenset[str]:
        """The checksums that a file may have, by its path below the folder; none if not known."""
        return frozenset(self._held.get(name, ()))

    def add(self, name: str, checksum: str) -> None:
        """Note what a file is about to be. Where that is refused, the file goes without."""
        line = json.dumps({"file": name, "crc32": checksum}).encode() + b"\n"
        if not self.is_usable:
            return
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with os.fdopen(open_plain(self.path, flags), "ab", buffering=0) as file:
                torn, self._is_torn = self._is_torn, True
                self._is_torn = file.write(b"\n" * torn + line) != len(line) + torn
        except OSError as error:
            logger.debug("%s cannot be written", self.path, exc_info=error)
        self._held.setdefault(name, set()).add(checksum)

    def keep(self, is_kept: Callable[[str], bool]) -> None:
        """Forget all files but these; without any, the file goes.

        Raises:
            OSError: It cannot be written.
        """
        if not self.is_there:
            return
        kept = {name: held for name, held in self._held.items() if is_kept(name)}
        if not kept:
            self.path.unlink()
        elif kept != self._held or self._is_torn:
            with replacing(self.path) as file:
                for name, held in kept.items():
                    for checksum in sorted(held):
                        line = json.dumps({"file": name, "crc32": checksum})
                        file.write(line.encode() + b"\n")
        self._held, self._is_torn = kept, False
