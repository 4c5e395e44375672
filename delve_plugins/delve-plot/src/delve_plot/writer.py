"""The plot writer: figures of an epoch, and of all epochs."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from delve.base import get_logger
from delve.errors import ArgumentError
from delve.files import Pace, file_name
from delve.records import Metric, RunInfo
from delve_plot.drawing import EMBEDDED, Drawing, Epoch
from delve_plot.failures import Failures
from delve_plot.folder import FigureFolder
from delve_plot.history import History
from delve_plot.settings import Style, check_style
from delve_plot.stats import figure_of, rank_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOLDER_NAME = "plots"
logger = get_logger(__name__)

PAUSE = 5.0  # seconds between figures, at least
SHARE = 0.05  # of the run's time, for drawing
CHECK_TIME = 5.0  # seconds that a resume takes to look for damaged figures


class PlotWriter:
    """Draws ``plots/<mode>-<stat>/epoch00003.png`` and ``plots/<mode>-<stat>/heatmap.png``.

    The first shows one epoch, layer by layer; the second all epochs. Where rows have a training
    step, titles and axis show that; files are called by the epoch in any case. An epoch without
    figures is one that ended while the last drawing was a few seconds old, or that would have let
    drawing take more than 5 % of the time; the last epoch and the heatmaps are drawn when the run
    ends. Of the first epoch there are as many figures as 5 % of its time pays for, and at least
    one.

    Args:
        savepath: The run's folder.
        primary_metric: A scalar of your own to draw beside the layers, for example the test
            accuracy: a dashed line on the axis of saturation, its value above other statistics.
        fontsize: Of titles, in points; the names of layers are a fifth smaller.
        figsize: Width and height in inches; by default as large as the layers need.
        plot_manipulation_func: Gets the axes of each figure of an epoch before it is saved.
        every: Draw every so many epochs, those that this number divides, however long it takes.
        dpi: Dots per inch.
        style: ``delve`` draws with Matplotlib's defaults, whatever your settings are; ``user``
            with your settings (``matplotlib.rcParams``) as they are when a figure is drawn.

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
        style: Style = "delve",
    ) -> None:
        if every is not None and (not isinstance(every, int) or every < 1):
            raise ArgumentError(f"every must be a number of epochs, at least 1, not {every!r}")
        for name, value in {"fontsize": fontsize, "dpi": dpi}.items():
            if not isinstance(value, (int, float)) or not value > 0:
                raise ArgumentError(f"{name} must be a number above 0, not {value!r}")
        if figsize is not None and (len(figsize) != 2 or not min(figsize) > 0):
            raise ArgumentError(f"figsize must be width and height in inches, not {figsize!r}")
        check_style(style)
        self.path = Path(savepath) / FOLDER_NAME
        self._folder = FigureFolder(self.path)
        self._drawing = Drawing(
            primary_metric, fontsize, figsize, plot_manipulation_func, dpi, style
        )
        self._primary_metric = primary_metric
        self._every = every
        self._begin()

    def _begin(self) -> None:
        """Know of no epoch, whatever an earlier run of the same object has left."""
        self._pace = Pace(SHARE, PAUSE)
        self._failures = Failures()
        self._histories: dict[tuple[str, str], History] = {}
        self._staged = Epoch()
        self._latest = Epoch()  # the last epoch that was saved
        self._primary_came = False
        self._started = time.monotonic()
        self._has_looked = False  # whether this run's first figures are drawn
        self._not_before = 0.0  # the next ones
        self._mapped = -1  # the last epoch in the heatmaps
        self._damaged: set[tuple[str, int]] = set()  # places and epochs of figures to draw again
        self._newest: dict[str, int] = {}  # by place, the last epoch that has a figure

    def start(self) -> None:
        """Begin without figures: an earlier run's are removed."""
        self._begin()
        self._folder.cut(0)

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Remove what shows later epochs; asks for all epochs again, which the heatmaps show."""
        self._begin()
        self._folder.cut(initial_epoch)
        if run.images:
            self._newest = self._folder.newest()
            self._damaged = self._folder.remove_damaged(time.monotonic() + CHECK_TIME)
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

    def save(self, epoch: int, run: RunInfo, step: int | None = None) -> None:
        """Draw the epoch if it is time."""
        self._latest, self._staged = self._stage(epoch), Epoch()
        self._latest.step = step
        if not run.images:
            return
        self._remember(self._latest)
        if epoch < run.initial_epoch:  # fed again
            self._draw_lacking(run)
            if run.epochs[-1:] == (epoch,):
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
        with contextlib.ExitStack() as stack:
            stack.callback(self._draw_heatmaps, run)  # also where the epoch cannot be stored
            self._draw_epoch(run)
        if self._primary_metric is not None and not self._primary_came:
            logger.warning(
                "the plots show no primary_metric, because no scalar %r was ever logged",
                self._primary_metric,
            )
            self._primary_came = True  # said once

    def _stage(self, epoch: int) -> Epoch:
        """What is staged for this epoch; what an epoch left that never came to its end goes."""
        if self._staged.number != epoch:
            self._staged = Epoch(epoch)
        return self._staged

    def _remember(self, epoch: Epoch) -> None:
        values: dict[tuple[str, str], dict[str, float]] = {}
        for metric, value in epoch.metrics.items():
            if rank_of(metric.stat) == 1:
                group = metric.mode, figure_of(metric.stat)
                values.setdefault(group, {})[metric.layer] = value
        for group, row in values.items():
            self._histories.setdefault(group, History()).put(epoch.number, row, epoch.step)

    def _look(self, run: RunInfo) -> None:
        """Draw the run's first figures; a heatmap of one epoch would show nothing more.

        No time was left to drawing before, so these get a share of what has gone by. All figures
        of an epoch come when they, too, will have taken no more than their share.
        """
        begun = time.monotonic()
        self._draw_epoch(run, SHARE * (begun - self._started) if self._every is None else math.inf)
        if count := len(self._latest.drawn):
            self._has_looked = True
            ended = time.monotonic()
            all_figures = len(self._latest.figures()) + len(self._histories)
            self._not_before = ended + (ended - begun) / count * all_figures / SHARE

    def _draw_epoch(self, run: RunInfo, seconds: float = math.inf) -> None:
        """Draw what is not drawn of the epoch: one figure, and more while these seconds last."""
        end = time.monotonic() + seconds
        epoch = self._latest
        with _one_by_one() as attempt:
            for mode, stat in epoch.figures():
                if (mode, stat) in epoch.drawn:
                    continue
                with attempt():
                    self._put(
                        (mode, stat),
                        epoch.number,
                        partial(self._drawing.of_epoch, epoch, mode, stat, run.layers),
                    )
                    epoch.drawn.add((mode, stat))
                if time.monotonic() > end:
                    return

    def _draw_lacking(self, run: RunInfo) -> None:
        """Draw those of the epoch that are lacking, as far as it holds what they show.

        These were damaged, or are of an epoch that the writer had not come to when its process
        died. Whatever else is not there was left out for want of time, or removed by its owner.
        """
        epoch = self._latest
        there = [group for group in epoch.figures() if not self._lacks(group, epoch.number)]
        if len(there) < len(epoch.figures()):
            epoch.drawn.update(there)
            with self._pace.measured():
                self._draw_epoch(run)

    def _lacks(self, group: tuple[str, str], epoch: int) -> bool:
        place = file_name("-".join(group))
        if self._every is not None and epoch % self._every == 0:
            return (place, epoch) in self._damaged or epoch > self._newest.get(place, -1)
        return (place, epoch) in self._damaged

    def _draw_heatmaps(self, run: RunInfo) -> None:
        if self._mapped == self._latest.number:
            return
        with _one_by_one() as attempt:
            for (mode, stat), history in self._histories.items():
                with attempt():
                    self._put(
                        (mode, stat),
                        None,
                        partial(self._drawing.heatmap, history, mode, stat, run.layers),
                    )
        self._mapped = self._latest.number

    def _put(self, group: tuple[str, str], epoch: int | None, draw: Callable[[], bytes]) -> None:
        """Draw a figure and store it; one that cannot be drawn is named once.

        Raises:
            OSError: It cannot be stored, and perhaps it can later.
        """
        try:
            png = draw()
        except Exception as error:
            kind = "heatmap" if epoch is None else "epoch"
            self._failures.note(f"{'-'.join(group)}, {kind}", error)
        else:
            self._folder.write(*group, epoch, png)


@contextlib.contextmanager
def _one_by_one() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Let each of several figures be stored, whatever becomes of the others.

    Raises:
        OSError: The first that one of them raised, once all had their turn.
    """
    errors: list[OSError] = []

    @contextlib.contextmanager
    def attempt() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            errors.append(error)

    yield attempt
    if errors:
        raise errors[0]
