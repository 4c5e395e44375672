"""The folder of pictures: ``<mode>-<stat>/epoch00003.png`` and ``<mode>-<stat>/heatmap.png``."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from delve.errors import WriterConfigurationError
from delve.files import file_name, replacing
from delve.records import MODES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEATMAP = "heatmap.png"

_GROUP = re.compile(rf"(?:{'|'.join(MODES)})-.+", re.DOTALL)
_PICTURE = re.compile(r"epoch(\d{5,})\.png")
_TEMPORARY = re.compile(r"\.(?:epoch\d{5,}|heatmap)\.png\.tmp")  # left by a crash


class PictureFolder:
    """One file a picture. Links in the folder are neither followed nor removed.

    Args:
        path: The folder, which need not exist.
        dpi: Dots per inch.
    """

    def __init__(self, path: Path, dpi: float) -> None:
        self.path = path
        self._dpi = dpi

    def write(self, mode: str, stat: str, epoch: int | None, figure: Figure) -> None:
        """Store a picture of an epoch, or without one the heatmap, in place of an earlier one."""
        folder = self.path / file_name(f"{mode}-{stat}")
        path = folder / (HEATMAP if epoch is None else f"epoch{epoch:05d}.png")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if folder.is_symlink():
                raise OSError("its folder is a link")
            with replacing(path) as file, warnings.catch_warnings():
                # A name may hold signs that the font has not; each shows as an empty box.
                warnings.filterwarnings("ignore", "Glyph .* missing from font")
                figure.savefig(file, format="png", dpi=self._dpi)
        except OSError as error:
            raise OSError(f"{path} cannot be written: {error}") from error

    def cut(self, first: int, heatmaps: bool) -> None:
        """Remove the pictures of epoch ``first`` and later.

        Args:
            first: The first epoch to remove.
            heatmaps: Whether to remove the heatmaps too.

        Raises:
            WriterConfigurationError: The folder is a link.
        """
        if self.path.is_symlink():
            raise WriterConfigurationError(
                f"writer 'plot': {self.path} is a link, and Delve removes no files behind links; "
                "replace it by a folder, or name another savefile"
            )
        for group in _entries(self.path):
            if _GROUP.fullmatch(group.name) and group.is_dir(follow_symlinks=False):
                for entry in _entries(Path(group)):
                    match = _PICTURE.fullmatch(entry.name)
                    void = int(match[1]) >= first if match else heatmaps and entry.name == HEATMAP
                    if void or _TEMPORARY.fullmatch(entry.name):
                        Path(entry).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # it is not empty
                    Path(group).rmdir()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
