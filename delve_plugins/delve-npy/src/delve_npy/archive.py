"""The zip file of a run's arrays and scalars."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from delve.files import replacing


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
