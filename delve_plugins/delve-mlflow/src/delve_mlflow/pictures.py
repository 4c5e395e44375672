"""The saturation of all layers as pictures: the last epoch, and all epochs as a heatmap a mode."""

from __future__ import annotations

import io

from delve_plot import drawn_in, recorded_heatmap, saturation_figure, write_png
from matplotlib.figure import Figure

from delve.journal import StoredRun
from delve_mlflow.artifacts import HEATMAPS, SATURATION
from delve_mlflow.table import last_record

STAT = "saturation"


def pictures(run: StoredRun, with_heatmaps: bool = True) -> dict[str, bytes]:
    """PNGs by the names of their files; none where no saturation was recorded.

    Args:
        run: The run, as its journal tells it.
        with_heatmaps: Whether all epochs are drawn too.
    """
    last = last_record(run, STAT)
    if last is None:
        return {}
    with drawn_in("delve"):
        epoch = saturation_figure(last.metrics, run.layers, epoch=last.epoch, step=last.step)
        files = {SATURATION: _png(epoch)}
        for mode in run.overview.stats.get(STAT, ()) if with_heatmaps else ():
            files[HEATMAPS[mode]] = _png(recorded_heatmap(run, STAT, mode))
    return files


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    write_png(figure, file)
    return file.getvalue()
