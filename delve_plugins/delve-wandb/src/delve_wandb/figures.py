"""The saturation of all layers in one epoch, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import wandb
from delve_plot.figures import rgba_pixels
from delve_plot.paced import STAT, PacedSaturation

from delve.base import get_logger

KEY = f"figures/{STAT}"

logger = get_logger(__name__)


class Pictures:
    """Draws what there is time for; one that cannot be drawn costs the row nothing else."""

    def __init__(self) -> None:
        self._drawn = PacedSaturation(lambda figure: wandb.Image(rgba_pixels(figure)))
        self._said = False

    def of_epoch(
        self, row: Mapping[str, Any], layers: Sequence[str], epoch: int
    ) -> dict[str, wandb.Image]:
        """What to log beside a row: one picture, or nothing."""
        image = self._drawn.of_epoch(row, layers, epoch)
        return {} if image is None else {KEY: image}

    def name_failure(self, error: Exception, epoch: int) -> None:
        """Say once why a picture that was drawn is not sent."""
        if not self._said:
            self._said = True
            logger.warning(
                "W&B gets no picture of epoch %d (%s: %s); its numbers are there",
                epoch,
                type(error).__name__,
                error,
            )
        logger.debug("its traceback", exc_info=error)
