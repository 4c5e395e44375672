"""The folder of pictures: ``<mode>-<stat>/epoch00003.png`` and ``<mode>-<stat>/heatmap.png``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from delve.epoch_files import EpochFiles, epoch_file_name
from delve.files import file_name, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEATMAP = "heatmap.png"
SUFFIX = ".png"


class PictureFolder:
    """One file a picture. Links in the folder are neither followed nor removed.

    Args:
        path: The folder, which need not exist.
        dpi: Dots per inch.
    """

    def __init__(self, path: Path, dpi: float) -> None:
        self._files = EpochFiles(path, SUFFIX, companions=[HEATMAP])
        self._dpi = dpi

    def write(self, mode: str, stat: str, epoch: int | None, figure: Figure) -> None:
        """Store a picture of an epoch, or without one the heatmap, in place of an earlier one."""
        from delve_plot.figures import write_png

        name = HEATMAP if epoch is None else epoch_file_name(epoch, SUFFIX)
        folder = self._files.make_place(file_name(f"{mode}-{stat}"))
        with replacing(folder / name) as file:
            write_png(figure, file, self._dpi)

    def cut(self, first: int) -> None:
        """Remove the pictures of epoch ``first`` and later, and the heatmaps, which show them.

        Raises:
            WriterConfigurationError: The folder is a link.
        """
        self._files.cut(first, companions=True)
