"""The zip file of a run's arrays and scalars."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

from delve.files import SCALARS, free_name, is_plain, open_plain, replacing, taken_names

_MARK = b"Delve"


def write_archive(path: Path, files: Iterable[Path]) -> None:
    """Pack files under their paths relative to the archive's folder.

    They are stored as they are: compressing covariance matrices costs minutes and saves little.
    """
    with (
        replacing(path) as file,
        zipfile.ZipFile(file, "w", strict_timestamps=False) as archive,
    ):
        for member in files:
            archive.write(member, member.relative_to(path.parent))
        archive.comment = _MARK


def our_archive(path: Path, folder: str) -> Path | None:
    """The archive of the folder's arrays that Delve has written, if there is one.

    Args:
        path: What it is called, if no file of another program is.
        folder: The name of the folder that is packed.
    """
    return next((name for name in taken_names(path) if _is_ours(name, folder)), None)


def archive_name(path: Path, folder: str) -> Path:
    """Where an archive is written: in place of Delve's own, and of no other."""
    return our_archive(path, folder) or free_name(path)


def _is_ours(path: Path, folder: str) -> bool:
    if not is_plain(path):
        return False
    try:
        with (
            os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file,
            zipfile.ZipFile(file) as archive,
        ):
            # An earlier version's has no mark.
            return archive.comment == _MARK or f"{folder}/{SCALARS}" in archive.namelist()
    except Exception:  # no zip file, or a damaged one, which raises whatever its bytes lead to
        return False
