"""The saturation of all layers in one epoch, as an image."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from delve_plot.figures import write_png
from delve_plot.paced import STAT, PacedSaturation
from matplotlib.figure import Figure

from delve.records import Metric
from delve_tensorboard import summaries

TAG = f"delve/{STAT}"


class Pictures:
    """Draws what there is time for."""

    def __init__(self) -> None:
        self._drawn = PacedSaturation(_png)

    def of_epoch(
        self, metrics: Mapping[Metric, float], layers: Sequence[str], epoch: int
    ) -> list[Any]:
        """What to show beside an epoch's scalars: one image, or nothing."""
        image = self._drawn.of_epoch(metrics, layers, epoch)
        return [] if image is None else [summaries.image(TAG, image)]


def _png(figure: Figure) -> bytes:
    png = io.BytesIO()
    write_png(figure, png)
    return png.getvalue()
