"""The plot writer: pictures of an epoch, and of all epochs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from delve.errors import ArgumentError
from delve.log import get_logger
from delve.pace import Pace
from delve.records import Metric, RunInfo
from delve_plot.history import History
from delve_plot.pictures import PictureFolder
from delve_plot.stats import picture_of, rank_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER_NAME = "plots"
EMBEDDED = "embedded-sample"
logger = get_logger(__name__)

PAUSE = 5.0  # seconds between pictures, at least
SHARE = 0.05  # of the run's time, for drawing


@dataclass
class _Epoch:
    """What one epoch's pictures show."""

    number: int = -1
    metrics: dict[Metric, float] = field(default_factory=dict)
    samples: dict[Metric, np.ndarray] = field(default_factory=dict)
    primary: float | None = None
    drawn: set[tuple[str, str]] = field(default_factory=set)

    def pictures(self) -> list[tuple[str, str]]:
        """Mode and statistic of each."""
        named = [(metric.mode, picture_of(metric.stat)) for metric in self.metrics]
        return list(dict.fromkeys([*named, *((metric.mode, EMBEDDED) for metric in self.samples)]))


class PlotWriter:
    """Draws ``plots/<mode>-<stat>/epoch00003.png`` and ``plots/<mode>-<stat>/heatmap.png``.

    The first shows one epoch, layer by layer; the second all epochs. An epoch without pictures is
    one that ended while the last drawing was a few seconds old, or that would have let drawing
    take more than 5 % of the time; the last epoch and the heatmaps are drawn when the run ends.
    Of the first epoch there are as many pictures as 5 % of its time pays for, and at least one.

    Args:
        savepath: The run's folder.
        primary_metric: A scalar of your own to draw beside the layers, for example the test
            accuracy: a dashed line on the axis of saturation, its value above other statistics.
        fontsize: Of titles, in points; the names of layers are a fifth smaller.
        figsize: Width and height in inches; by default as large as the layers need.
        plot_manipulation_func: Gets the axes of each picture of an epoch before it is saved.
        every: Draw every so many epochs, those that this number divides, however long it takes.
        dpi: Dots per inch.

    Raises:
        ArgumentError: An argument cannot be used.
    """

    def __init__(
        self,
        savepath: str | os.PathLike[str],
        primary_metric: str | None = None,
        fontsize: float = 10,
        figsize: tuple[float, float] | None = None,
        plot_manipulation_func: Callable[[Axes], object] | None = None,
        every: int | None = None,
        dpi: float = 150,
    ) -> None:
        if every is not None and (not isinstance(every, int) or every < 1):
            raise ArgumentError(f"every must be a number of epochs, at least 1, not {every!r}")
        for name, value in {"fontsize": fontsize, "dpi": dpi}.items():
            if not isinstance(value, (int, float)) or not value > 0:
                raise ArgumentError(f"{name} must be a number above 0, not {value!r}")
        if figsize is not None and (len(figsize) != 2 or not min(figsize) > 0):
            raise ArgumentError(f"figsize must be width and height in inches, not {figsize!r}")
        self.path = Path(savepath) / FOLDER_NAME
        self._folder = PictureFolder(self.path, dpi)
        self._primary_metric = primary_metric
        self._fontsize = fontsize
        self._figsize = figsize
        self._manipulate = plot_manipulation_func
        self._every = every
        self._begin()

    def _begin(self) -> None:
        """Know of no epoch, whatever an earlier run of the same object has left."""
        self._pace = Pace(SHARE, PAUSE)
        self._histories: dict[tuple[str, str], History] = {}
        self._staged = _Epoch()
        self._latest = _Epoch()  # the last epoch that was saved
        self._primary_came = False
        self._started = time.monotonic()
        self._has_looked = False  # whether this run's first pictures are drawn
        self._not_before = 0.0  # the next ones
        self._mapped = -1  # the last epoch in the heatmaps

    def start(self) -> None:
        """Begin without pictures: an earlier run's are removed."""
        self._begin()
        self._folder.cut(0)

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Remove what shows later epochs; asks for all epochs again, which the heatmaps show."""
        self._begin()
        self._folder.cut(initial_epoch)
        return run.first_lacking(()) if run.images else initial_epoch

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        """Take the primary metric."""
        if name == self._primary_metric:
            self._stage(epoch).primary = value
            self._primary_came = True

    def add_scalars(self, value_dict: dict[Metric, float], global_step: int) -> None:
        """Stage the layer metrics."""
        self._stage(global_step).metrics.update(value_dict)

    def add_array(self, name: Metric, value: np.ndarray, epoch: int) -> None:
        """Stage embedded samples."""
        if name.stat == EMBEDDED:
            self._stage(epoch).samples[name] = value

    def save(self, epoch: int, run: RunInfo) -> None:
        """Draw the epoch if it is time."""
        self._latest, self._staged = self._stage(epoch), _Epoch()
        if not run.images:
            return
        self._remember(self._latest)
        if epoch < run.initial_epoch:  # fed again: its picture is there if it ever was
            if epoch == run.epochs[-1]:
                with self._pace.measured():
                    self._draw_heatmaps(run)
            return
        due = self._pace.is_due() and time.monotonic() >= self._not_before
        if due if self._every is None else epoch % self._every == 0:
            with self._pace.measured():
                if not self._has_looked:
                    self._look(run)
                else:
                    self._draw_epoch(run)
                    if due:
                        self._draw_heatmaps(run)

    def close(self, run: RunInfo) -> None:
        """Draw the last epoch and the heatmaps."""
        if not run.images or self._latest.number < 0:
            return
        self._draw_epoch(run)
        self._draw_heatmaps(run)
        if self._primary_metric is not None and not self._primary_came:
            logger.warning(
                "the plots show no primary_metric, because no scalar %r was ever logged",
                self._primary_metric,
            )
            self._primary_came = True  # said once

    def _stage(self, epoch: int) -> _Epoch:
        """What is staged for this epoch; what an epoch left that never came to its end goes."""
        if self._staged.number != epoch:
            self._staged = _Epoch(epoch)
        return self._staged

    def _remember(self, epoch: _Epoch) -> None:
        values: dict[tuple[str, str], dict[str, float]] = {}
        for metric, value in epoch.metrics.items():
            if rank_of(metric.stat) == 1:
                group = metric.mode, picture_of(metric.stat)
                values.setdefault(group, {})[metric.layer] = value
        for group, row in values.items():
            self._histories.setdefault(group, History()).put(epoch.number, row)

    def _look(self, run: RunInfo) -> None:
        """Draw the run's first pictures; a heatmap of one epoch would show nothing more.

        No time was left to drawing before, so these get a share of what has gone by. All pictures
        of an epoch come when they, too, will have taken no more than their share.
        """
        begun = time.monotonic()
        self._draw_epoch(run, SHARE * (begun - self._started) if self._every is None else math.inf)
        if count := len(self._latest.drawn):
            self._has_looked = True
            ended = time.monotonic()
            all_pictures = len(self._latest.pictures()) + len(self._histories)
            self._not_before = ended + (ended - begun) / count * all_pictures / SHARE

    def _draw_epoch(self, run: RunInfo, seconds: float = math.inf) -> None:
        """Draw what is not drawn of the epoch: one picture, and more while these seconds last."""
        end = time.monotonic() + seconds
        for mode, stat in self._latest.pictures():
            if (mode, stat) in self._latest.drawn:
                continue
            draw = self._samples if stat == EMBEDDED else self._layers
            self._finish(mode, stat, self._latest.number, draw(mode, stat, run))
            self._latest.drawn.add((mode, stat))
            if time.monotonic() > end:
                return

    def _layers(self, mode: str, stat: str, run: RunInfo) -> Figure:
        from delve_plot.figures import saturation_figure

        epoch = self._latest
        primary = None
        if self._primary_metric is not None and epoch.primary is not None:
            primary = self._primary_metric, epoch.primary
        return saturation_figure(
            {metric: value for metric, value in epoch.metrics.items() if metric.mode == mode},
            run.layers,
            stat=stat,
            epoch=epoch.number,
            primary_metric=primary,
            fontsize=self._fontsize,
            figsize=self._figsize,
        )

    def _samples(self, mode: str, stat: str, run: RunInfo) -> Figure:
        from delve_plot.figures import forward_order
        from delve_plot.scatter import scatter_figure

        epoch = self._latest
        wanted = mode, stat
        samples = {
            m.layer: points for m, points in epoch.samples.items() if (m.mode, m.stat) == wanted
        }
        return scatter_figure(
            {layer: samples[layer] for layer in forward_order(run.layers, list(samples))},
            mode=mode,
            epoch=epoch.number,
            fontsize=self._fontsize,
            figsize=self._figsize,
        )

    def _finish(self, mode: str, stat: str, epoch: int, figure: Figure) -> None:
        if self._manipulate is not None:
            for axes in figure.axes:
                self._manipulate(axes)
        self._folder.write(mode, stat, epoch, figure)

    def _draw_heatmaps(self, run: RunInfo) -> None:
        from delve_plot.figures import forward_order
        from delve_plot.heatmap import heatmap_figure

        if self._mapped == self._latest.number:
            return
        for (mode, stat), history in self._histories.items():
            layers = forward_order(run.layers, history.layers)
            figure = heatmap_figure(
                history.values(layers),
                history.epochs,
                layers,
                mode=mode,
                stat=stat,
                fontsize=self._fontsize,
                figsize=self._figsize,
            )
            self._folder.write(mode, stat, None, figure)
        self._mapped = self._latest.number
