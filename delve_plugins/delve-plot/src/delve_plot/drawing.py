"""Makes the plot writer's figures: of one epoch, and of all epochs."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from delve.records import Metric, forward_order
from delve_plot.history import History
from delve_plot.settings import Style, drawn_in
from delve_plot.signature import SIGNATURE
from delve_plot.stats import figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EMBEDDED = "embedded-sample"


@dataclass
class Epoch:
    """What one epoch's figures show.

    Attributes:
        number: The epoch.
        metrics: Its layer metrics.
        samples: Its embedded samples.
        primary: The primary metric, if it came.
        step: Its training step, if it has one.
        drawn: Mode and statistic of the figures that need not be drawn any more.
    """

    number: int = -1
    metrics: dict[Metric, float] = field(default_factory=dict)
    samples: dict[Metric, np.ndarray] = field(default_factory=dict)
    primary: float | None = None
    step: int | None = None
    drawn: set[tuple[str, str]] = field(default_factory=set)

    def figures(self) -> list[tuple[str, str]]:
        """Mode and statistic of each."""
        named = [(metric.mode, figure_of(metric.stat)) for metric in self.metrics]
        return list(dict.fromkeys([*named, *((metric.mode, EMBEDDED) for metric in self.samples)]))


@dataclass(frozen=True)
class Drawing:
    """How the user wants the figures, and how they are made; each method returns a PNG's bytes.

    Attributes:
        primary_metric: A scalar of the user's to draw beside the layers.
        fontsize: Of titles, in points.
        figsize: Width and height in inches.
        manipulate: Gets the axes of each figure of an epoch.
        dpi: Dots per inch.
        style: Whose Matplotlib settings apply.
    """

    primary_metric: str | None
    fontsize: float
    figsize: tuple[float, float] | None
    manipulate: Callable[[Axes], object] | None
    dpi: float
    style: Style

    def of_epoch(self, epoch: Epoch, mode: str, stat: str, layers: Sequence[str]) -> bytes:
        """One statistic of one epoch, or its embedded samples."""
        with drawn_in(self.style):
            draw = self._samples if stat == EMBEDDED else self._layers
            figure = draw(epoch, mode, stat, layers)
            if self.manipulate is not None:
                for axes in figure.axes:
                    self.manipulate(axes)
            return self._png(figure)

    def heatmap(self, history: History, mode: str, stat: str, layers: Sequence[str]) -> bytes:
        """One statistic over all epochs."""
        from delve_plot.heatmap import heatmap_figure

        rows = forward_order(layers, history.layers)
        with drawn_in(self.style):
            figure = heatmap_figure(
                history.values(rows),
                history.epochs,
                rows,
                mode=mode,
                stat=stat,
                fontsize=self.fontsize,
                figsize=self.figsize,
                steps=history.steps,
            )
            return self._png(figure)

    def _layers(self, epoch: Epoch, mode: str, stat: str, layers: Sequence[str]) -> Figure:
        from delve_plot.figures import saturation_figure

        primary = None
        if self.primary_metric is not None and epoch.primary is not None:
            primary = self.primary_metric, epoch.primary
        return saturation_figure(
            _of_mode(epoch.metrics, mode),
            layers,
            stat=stat,
            epoch=epoch.number,
            step=epoch.step,
            primary_metric=primary,
            fontsize=self.fontsize,
            figsize=self.figsize,
        )

    def _samples(self, epoch: Epoch, mode: str, stat: str, layers: Sequence[str]) -> Figure:
        from delve_plot.scatter import scatter_figure

        samples = {
            metric.layer: points
            for metric, points in epoch.samples.items()
            if (metric.mode, metric.stat) == (mode, stat)
        }
        return scatter_figure(
            {layer: samples[layer] for layer in forward_order(layers, list(samples))},
            mode=mode,
            epoch=epoch.number,
            step=epoch.step,
            fontsize=self.fontsize,
            figsize=self.figsize,
        )

    def _png(self, figure: Figure) -> bytes:
        from delve_plot.figures import write_png

        png = io.BytesIO()
        write_png(figure, png, self.dpi, SIGNATURE)
        return png.getvalue()


def _of_mode(metrics: Mapping[Metric, float], mode: str) -> dict[Metric, float]:
    return {metric: value for metric, value in metrics.items() if metric.mode == mode}
