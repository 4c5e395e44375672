"""The saturation of all layers in one epoch, as a figure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from delve_plot import PacedSaturation, Style, write_png
from matplotlib.figure import Figure

from delve.records import Metric
from delve_tensorboard import summaries

TAG = "delve/saturation"


class Figures:
    """Draws what there is time for, and the last epoch.

    Args:
        style: Whose Matplotlib settings they are drawn in.
        tag: What they are called in TensorBoard.
    """

    def __init__(self, style: Style, tag: str = TAG) -> None:
        self.tag = tag
        self._drawn = PacedSaturation(_png, style)

    def of_epoch(
        self,
        metrics: Mapping[Metric, float],
        layers: Sequence[str],
        epoch: int,
        step: int | None = None,
    ) -> list[Any]:
        """What to show beside an epoch's scalars: one figure, or nothing."""
        png = self._drawn.of_epoch(metrics, layers, epoch, step)
        return [] if png is None else [summaries.image(self.tag, png)]

    def leave_out(
        self,
        metrics: Mapping[Metric, float],
        layers: Sequence[str],
        epoch: int,
        step: int | None = None,
    ) -> None:
        """Take an epoch that has a figure only if it is the last."""
        self._drawn.leave_out(metrics, layers, epoch, step)

    def of_last_epoch(self) -> tuple[int, list[Any]] | None:
        """The last epoch and its figure, unless it has one already."""
        last = self._drawn.of_last_epoch()
        return last and (last[0], [summaries.image(self.tag, last[1])])


def _png(figure: Figure) -> bytes:
    png = io.BytesIO()
    write_png(figure, png)
    return png.getvalue()
