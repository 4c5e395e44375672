"""The saturation of all layers in one epoch, as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import wandb
from delve_plot import PacedSaturation, rgba_pixels

KEY = "figures/saturation"


class Figures:
    """Draws what there is time for; one that cannot be drawn costs the row nothing else."""

    def __init__(self) -> None:
        self._drawn = PacedSaturation(lambda figure: wandb.Image(rgba_pixels(figure)))

    def of_epoch(
        self, row: Mapping[str, Any], layers: Sequence[str], epoch: int, step: int | None = None
    ) -> dict[str, wandb.Image]:
        """What to log beside a row: one figure, or nothing."""
        figure = self._drawn.of_epoch(row, layers, epoch, step)
        return {} if figure is None else {KEY: figure}

    def leave_out(
        self, row: Mapping[str, Any], layers: Sequence[str], epoch: int, step: int | None = None
    ) -> None:
        """Take an epoch that has a figure only if it is the last."""
        self._drawn.leave_out(row, layers, epoch, step)

    def of_last_epoch(self) -> dict[str, wandb.Image]:
        """What to show of the last epoch, unless it has a figure already."""
        last = self._drawn.of_last_epoch()
        return {} if last is None else {KEY: last[1]}
