"""Figures for a training that is not to wait for them, in whatever form a backend takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from matplotlib.figure import Figure

from delve.files import Pace
from delve.records import Metric
from delve_plot.failures import Failures
from delve_plot.figures import saturation_figure
from delve_plot.settings import Style, drawn_in

STAT = "saturation"

_SHARE = 0.05  # of the run's time that goes into drawing

T = TypeVar("T")


class PacedSaturation(Generic[T]):
    """The saturation of all layers, drawn as often as leaves 95 % of the time to the run.

    A figure that cannot be drawn is named once, and raises nothing.

    Args:
        encode: Makes of a figure what the backend stores.
        style: Whose Matplotlib settings a figure is drawn in.
    """

    def __init__(self, encode: Callable[[Figure], T], style: Style = "delve") -> None:
        self._encode = encode
        self._style: Style = style
        self._pace = Pace(_SHARE)
        self._failures = Failures()
        self._left_out: tuple[dict[Metric, float], tuple[str, ...], int, int | None] | None = None

    def of_epoch(
        self,
        values: Mapping[str, float] | Mapping[Metric, float],
        layers: Sequence[str],
        epoch: int,
        step: int | None = None,
    ) -> T | None:
        """The figure of an epoch; None where it holds no saturation, or so soon after the last.

        Args:
            values: The epoch's metrics, by their names; others than layer metrics are passed over.
            layers: The names of the layers in forward order.
            epoch: The epoch.
            step: Its training step, which stands in the title then.
        """
        if not self.leave_out(values, layers, epoch, step):
            return None
        return self._drawn() if self._pace.is_due() else None

    def leave_out(
        self,
        values: Mapping[str, float] | Mapping[Metric, float],
        layers: Sequence[str],
        epoch: int,
        step: int | None = None,
    ) -> bool:
        """Take an epoch that is drawn only if it is the last, as one that is fed again.

        Arguments are those of :meth:`of_epoch`; returns whether the epoch holds saturation.
        """
        saturation = {
            name: value
            for name, value in values.items()
            if isinstance(name, Metric) and name.stat == STAT
        }
        if saturation:
            self._left_out = saturation, tuple(layers), epoch, step
        return bool(saturation)

    def of_last_epoch(self) -> tuple[int, T] | None:
        """The last epoch that held saturation and its figure, for the end of a run.

        None where it was drawn already, or failed to be.
        """
        if self._left_out is None:
            return None
        epoch = self._left_out[2]
        figure = self._drawn()
        return None if figure is None else (epoch, figure)

    def _drawn(self) -> T | None:
        assert self._left_out is not None
        (saturation, layers, epoch, step), self._left_out = self._left_out, None
        with self._pace.measured():  # a failure takes its time too
            try:
                with drawn_in(self._style):
                    figure = saturation_figure(saturation, layers, epoch=epoch, step=step)
                    return self._encode(figure)
            except Exception as error:
                self._failures.note(STAT, error)
        return None
