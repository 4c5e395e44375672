"""Pictures for a training that is not to wait for them, in whatever form a backend takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from matplotlib.figure import Figure

from delve.pace import Pace
from delve.records import Metric
from delve_plot.figures import saturation_figure

STAT = "saturation"

_SHARE = 0.05  # of the run's time that goes into drawing

T = TypeVar("T")


class PacedSaturation(Generic[T]):
    """The saturation of all layers, drawn as often as leaves 95 % of the time to the run.

    Args:
        encode: Makes of a figure what the backend stores.
    """

    def __init__(self, encode: Callable[[Figure], T]) -> None:
        self._encode = encode
        self._pace = Pace(_SHARE)

    def of_epoch(
        self,
        values: Mapping[str, float] | Mapping[Metric, float],
        layers: Sequence[str],
        epoch: int,
    ) -> T | None:
        """The picture of an epoch; None where it holds no saturation, or so soon after the last.

        Args:
            values: The epoch's metrics, by their names; others than layer metrics are passed over.
            layers: The names of the layers in forward order.
            epoch: The epoch.
        """
        saturation = {
            name: value
            for name, value in values.items()
            if isinstance(name, Metric) and name.stat == STAT
        }
        if not saturation or not self._pace.is_due():
            return None
        with self._pace.measured():
            return self._encode(saturation_figure(saturation, layers, epoch=epoch))
