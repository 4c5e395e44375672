"""Error bars of layers that were gathered by sketch."""

import numpy as np
from delve_plot.error_bars import error_bars
from delve_plot.figures import saturation_figure
from delve_plot.stats import figure_of, rank_of
from matplotlib.collections import LineCollection

from delve.records import Metric

VALUES = {
    Metric("train", "saturation", "a"): 0.2,
    Metric("train", "saturation", "b"): 0.5,
    Metric("train", "saturation-low", "b"): 0.3,
    Metric("train", "saturation-high", "b"): 0.7,
}


def test_the_ends_of_each_row():
    ends = error_bars(VALUES, "saturation", ["a", "b"], "train")
    assert np.array_equal(ends, [[np.nan, 0.3], [np.nan, 0.7]], equal_nan=True)
    assert np.isnan(error_bars(VALUES, "saturation", ["a", "b"], "eval")).all()


def test_a_figure_shows_them_and_says_what_they_are():
    figure = saturation_figure(VALUES, ["a", "b"])
    (axes,) = figure.axes
    lines = [one for one in axes.collections if isinstance(one, LineCollection)]
    (bar,) = [one for one in lines if len(one.get_segments()) == 1]
    assert np.allclose(bar.get_segments()[0], [[0.3, 1], [0.7, 1]])
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "the exact value lies within (gathered by sketch)" in labels


def test_without_bounds_there_is_nothing_of_them():
    figure = saturation_figure({Metric("train", "saturation", "a"): 0.2}, ["a"])
    assert not figure.legends


def test_bounds_have_no_figure_and_no_heatmap_of_their_own():
    assert figure_of("saturation-low") == figure_of("saturation-high") == "saturation"
    assert rank_of("saturation-low") == 0
    assert rank_of("saturation") == rank_of("spectrum-1") == 1
