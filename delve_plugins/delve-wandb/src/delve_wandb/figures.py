"""The saturation of all layers in one epoch, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import wandb
from delve_plot.figures import rgba_pixels
from delve_plot.paced import STAT, PacedSaturation

KEY = f"figures/{STAT}"


class Pictures:
    """Draws what there is time for."""

    def __init__(self) -> None:
        self._drawn = PacedSaturation(lambda figure: wandb.Image(rgba_pixels(figure)))

    def of_epoch(
        self, row: Mapping[str, Any], layers: Sequence[str], epoch: int
    ) -> dict[str, wandb.Image]:
        """What to log beside a row: one picture, or nothing."""
        image = self._drawn.of_epoch(row, layers, epoch)
        return {} if image is None else {KEY: image}
