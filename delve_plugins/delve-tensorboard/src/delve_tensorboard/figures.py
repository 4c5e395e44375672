"""The saturation of all layers in one epoch, as an image."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from delve_plot.figures import saturation_figure, write_png

from delve.pace import Pace
from delve.records import Metric
from delve_tensorboard import summaries

STAT = "saturation"
TAG = f"delve/{STAT}"

_SHARE = 0.05  # of the run's time that goes into drawing


class Pictures:
    """Draws as often as leaves 95 % of the time to the run."""

    def __init__(self) -> None:
        self._pace = Pace(_SHARE)

    def of_epoch(
        self, metrics: Mapping[Metric, float], layers: Sequence[str], epoch: int
    ) -> list[Any]:
        """What to show beside an epoch's scalars: one image, or nothing."""
        saturation = {metric: value for metric, value in metrics.items() if metric.stat == STAT}
        if not saturation or not self._pace.is_due():
            return []
        with self._pace.measured():
            png = io.BytesIO()
            write_png(saturation_figure(saturation, layers, epoch=epoch), png)
            return [summaries.image(TAG, png.getvalue())]
