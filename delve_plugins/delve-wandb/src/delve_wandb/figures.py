"""The saturation of all layers in one epoch, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import wandb
from delve_plot.figures import rgba_pixels, saturation_figure

from delve.pace import Pace
from delve.records import Metric

STAT = "saturation"
KEY = f"figures/{STAT}"

_SHARE = 0.05  # of the run's time that goes into drawing


class Pictures:
    """Draws as often as leaves 95 % of the time to the run."""

    def __init__(self) -> None:
        self._pace = Pace(_SHARE)

    def of_epoch(
        self, row: Mapping[str, Any], layers: Sequence[str], epoch: int
    ) -> dict[str, wandb.Image]:
        """What to log beside a row: one picture, or nothing."""
        saturation = {
            name: value
            for name, value in row.items()
            if isinstance(name, Metric) and name.stat == STAT
        }
        if not saturation or not self._pace.is_due():
            return {}
        with self._pace.measured():
            pixels = rgba_pixels(saturation_figure(saturation, layers, epoch=epoch))
            return {KEY: wandb.Image(pixels)}
