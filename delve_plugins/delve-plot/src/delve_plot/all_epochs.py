"""All epochs of a recorded run in one figure."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from delve.journal import StoredRun
from delve.records import Metric, forward_order
from delve_plot.heatmap import heatmap_figure
from delve_plot.stats import figure_of


def recorded_heatmap(run: StoredRun, stat: str, mode: str) -> Figure:
    """The statistic over all epochs that hold it in this mode; of eigenvalues the one named.

    Args:
        run: The run, as :func:`delve.journal.read_run` reads it.
        stat: The statistic's long name.
        mode: ``train`` or ``eval``.

    Returns:
        A figure of its own, unknown to pyplot.
    """
    epochs = run.overview.epochs_with(stat, [mode])
    wanted = [m for m in run.overview.first if (m.mode, m.stat) == (mode, stat)]
    layers = forward_order(run.layers, [metric.layer for metric in wanted])
    metrics = [Metric(mode, stat, layer) for layer in layers]
    held = set(epochs)
    rows = (record.metrics for record in run.records if record.epoch in held)
    values = np.array([np.array([row.get(m, math.nan) for m in metrics]) for row in rows])
    return heatmap_figure(
        values.T, epochs, layers, mode=mode, stat=figure_of(stat), steps=run.steps
    )
