"""Figures, histograms, and that neither comes unasked."""

import io
import subprocess
import sys

import numpy as np
import pytest
from delve_tensorboard import TensorBoardWriter
from matplotlib.figure import Figure
from support.recorded_runs import record
from support.tensorboard_runs import accumulator
from tensorboard.util import tensor_util

from delve import Metric, RunInfo

matplotlib_image = pytest.importorskip("matplotlib.image")


def run_info(folder, **told):
    return RunInfo(folder, "0123456789", 0, **told)


def saved(folder, spectrum):
    writer, run = TensorBoardWriter(folder), run_info(folder, layers=("stem", "head"))
    writer.start(run)
    writer.add_array(Metric("train", "covariance-matrix", "head"), np.eye(3))
    writer.add_array(Metric("train", "spectrum", "head"), spectrum)
    writer.save(0, 0, run)
    writer.close(None, run)
    return accumulator(folder / "tensorboard/train")


def test_the_spectrum_is_a_histogram(tmp_path):
    spectrum = np.sort(np.random.default_rng(0).exponential(size=200))[::-1]
    held = saved(tmp_path, spectrum)
    assert held.Tags()["tensors"] == ["spectrum/001.head"]
    (event,) = held.Tensors("spectrum/001.head")
    left, right, counts = tensor_util.make_ndarray(event.tensor_proto).T
    expected, edges = np.histogram(spectrum, bins=30)
    assert counts.tolist() == expected.tolist()
    assert np.allclose(left, edges[:-1])
    assert np.allclose(right, edges[1:])


@pytest.mark.parametrize(
    ("spectrum", "count"),
    [([np.nan, np.nan], 0), ([0.0, 0.0], 2), ([3.0], 1), ([], 0), ([1e308, np.inf, 0.0], 2)],
)
def test_a_degenerate_spectrum_does_no_harm(tmp_path, spectrum, count):
    (event,) = saved(tmp_path, np.array(spectrum)).Tensors("spectrum/001.head")
    assert tensor_util.make_ndarray(event.tensor_proto)[:, 2].sum() == count


def images(folder):
    return accumulator(folder / "tensorboard").Images("delve/saturation")


def test_figures_show_the_saturation_of_each_epoch(tmp_path):
    record(tmp_path, "tensorboard", range(2), writer_args={"figures": True})
    record(tmp_path, "tensorboard", range(2, 3), writer_args={"figures": True})
    shown = images(tmp_path)
    assert [event.step for event in shown] == [0, 1, 2]
    for event in shown:
        pixels = matplotlib_image.imread(io.BytesIO(event.encoded_image_string), format="png")
        assert pixels.shape[:2] == (event.height, event.width)


@pytest.mark.parametrize(
    "options", [{}, {"writer_args": {"figures": True}, "nosave": True}], ids=["default", "nosave"]
)
def test_there_is_no_figure_unless_it_is_wanted(tmp_path, options):
    record(tmp_path, "tensorboard", range(2), **options)
    assert accumulator(tmp_path / "tensorboard").Tags()["images"] == []


def bars(monkeypatch, values, order):
    """The bars that are drawn, as {(mode, label): length}, and the labels from top to bottom."""
    from delve_tensorboard.figure import saturation_figure

    figures, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: figures.append(self) or save(self, *a, **k)
    )
    assert saturation_figure(values, order, 3).startswith(b"\x89PNG")
    (axes,) = figures[0].axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    drawn = {
        (container.get_label(), labels[round(bar.get_y() + bar.get_height() / 2)]): bar.get_width()
        for container in axes.containers
        for bar in container
    }
    top, bottom = axes.get_ylim()[::-1]
    return drawn, labels if top < bottom else labels[::-1], axes.get_xlim()


def test_bars_are_in_forward_order_from_0_to_1(monkeypatch):
    values = {
        Metric("train", "saturation", "net.z"): 0.25,
        Metric("train", "saturation", "net.a"): 0.5,
    }
    values |= {Metric("eval", "saturation", "net.z"): 0.75}
    drawn, labels, limits = bars(monkeypatch, values, ["net.unused", "net.z", "net.a"])
    assert labels == ["z", "a"]
    assert limits == (0, 1)
    assert np.isnan(drawn.pop(("eval", "a")))
    assert drawn == {("train", "z"): 0.25, ("train", "a"): 0.5, ("eval", "z"): 0.75}


def test_neither_tensorboard_nor_matplotlib_is_imported_before_it_is_needed():
    code = "import sys, delve_tensorboard as d; d.TensorBoardWriter('x', figures=True);"
    code += "sys.exit(bool({'tensorboard', 'matplotlib', 'tensorflow'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
