"""Figures, histograms, and that neither comes unasked."""

import io
import subprocess
import sys

import numpy as np
import pytest
from delve_plot.figures import rgba_pixels, saturation_figure
from delve_tensorboard import TensorBoardWriter
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util
from tensorboard_runs import accumulator

from delve import Metric, RunInfo
from delve.delivery.export import export
from delve.errors import WriterConfigurationError
from delve.files.pace import Pace
from delve.testing import journal_entries, train

FIGURES = {"writer_args": {"figures": True}}


def run_info(folder, **told):
    return RunInfo(folder, "0123456789", 0, **told)


def saved(folder, spectrum, **options):
    arrays = ("train-spectrum",)
    run = run_info(folder, layers=("stem", "head"), arrays=arrays)
    writer = TensorBoardWriter(folder, **options)
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


@pytest.mark.parametrize("kind", ["values", "none above 0"])
def test_it_is_that_of_the_logarithms_where_these_are_wanted(tmp_path, kind):
    values = np.array([1e3, 1e-4, 0.0, -1e-9, 10.0, np.nan, np.inf])
    values = values if kind == "values" else np.zeros(3)
    held = saved(tmp_path, values, log_spectrum=True)
    assert held.Tags()["tensors"] == ["log10-spectrum/001.head"]
    (event,) = held.Tensors("log10-spectrum/001.head")
    left, _, counts = tensor_util.make_ndarray(event.tensor_proto).T
    if kind == "values":
        expected, edges = np.histogram([3.0, -4.0, 1.0], bins=30)
        assert np.allclose(left, edges[:-1])
        assert counts.tolist() == expected.tolist()
    assert counts.sum() == (3 if kind == "values" else 0)


def test_logarithms_of_what_is_not_computed_are_named(tmp_path, caplog):
    options = {"writer_args": {"log_spectrum": True}}
    train(tmp_path / "a", "tensorboard", range(1), stats=["lsat", "spectrum"], **options)
    assert caplog.text == ""
    held = accumulator(tmp_path / "a/tensorboard/eval").Tags()["tensors"]
    assert held == ["log10-spectrum/000.0", "log10-spectrum/001.2"]
    train(tmp_path / "b", "tensorboard", range(1), **options)
    assert caplog.text.count("log_spectrum=True has nothing to show") == 1


@pytest.mark.parametrize(
    ("spectrum", "count"),
    [([np.nan, np.nan], 0), ([0.0, 0.0], 2), ([3.0], 1), ([], 0), ([1e308, np.inf, 0.0], 2)],
)
def test_a_degenerate_spectrum_does_no_harm(tmp_path, spectrum, count):
    (event,) = saved(tmp_path, np.array(spectrum)).Tensors("spectrum/001.head")
    assert tensor_util.make_ndarray(event.tensor_proto)[:, 2].sum() == count


def images(folder):
    return accumulator(folder / "tensorboard").Images("delve/saturation")


def saturations(folder, epoch):
    metrics = {Metric.parse(k): v for k, v in journal_entries(folder)[epoch]["metrics"].items()}
    return {metric: value for metric, value in metrics.items() if metric.stat == "saturation"}


def test_a_figure_shows_the_saturation_of_its_epoch(tmp_path):
    for epochs in (range(1), range(1, 2)):
        train(tmp_path, "tensorboard", epochs, **FIGURES)
    shown = images(tmp_path)
    assert [event.step for event in shown] == [0, 1]
    for event in shown:
        with Image.open(io.BytesIO(event.encoded_image_string)) as image:
            assert image.size == (event.width, event.height)
            drawn = saturation_figure(
                saturations(tmp_path, event.step), ("0", "2"), epoch=event.step
            )
            np.testing.assert_array_equal(np.asarray(image), rgba_pixels(drawn))


def test_short_epochs_go_without_but_the_last(tmp_path):
    train(tmp_path, "tensorboard", range(20), **FIGURES)
    assert [event.step for event in images(tmp_path)] == [0, 19]
    times = {event.step: event.wall_time for event in images(tmp_path)}
    scalars = {
        e.step: e.wall_time for e in accumulator(tmp_path / "tensorboard").Scalars("accuracy")
    }
    assert times == {epoch: scalars[epoch] for epoch in (0, 19)}
    train(tmp_path, "tensorboard", range(10, 11), **FIGURES)  # the figure of 19 is void
    assert [event.step for event in images(tmp_path)] == [0, 10]


def test_every_epoch_has_a_figure_where_there_is_time(tmp_path, monkeypatch):
    monkeypatch.setattr(Pace, "is_due", lambda _: True)
    train(tmp_path, "tensorboard", range(3), **FIGURES)
    assert [event.step for event in images(tmp_path)] == [0, 1, 2]


def test_epochs_that_are_fed_again_get_no_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(Pace, "is_due", lambda _: True)
    train(tmp_path, "print", range(4))
    train(tmp_path, "tensorboard", range(4, 6), **FIGURES)
    assert [event.step for event in images(tmp_path)] == [4, 5]
    assert accumulator(tmp_path / "tensorboard").Scalars("accuracy")[0].step == 0


def test_a_replayed_run_shows_its_last_epoch(tmp_path):
    train(tmp_path, "print", range(4))
    (outcome,) = export(tmp_path, "tensorboard", {"figures": True})
    assert outcome.error is None
    (shown,) = images(tmp_path)
    times = {epoch: line["time"] for epoch, line in journal_entries(tmp_path).items()}
    assert (shown.step, shown.wall_time) == (3, times[3] / 1000)


def test_of_many_figures_tensorboard_shows_the_last(tmp_path, monkeypatch):
    """It keeps a sample of them, and its page begins with the last one that is kept."""
    monkeypatch.setattr(Pace, "is_due", lambda _: True)
    train(tmp_path, "tensorboard", range(9), **FIGURES)
    kept = event_accumulator.EventAccumulator(
        str(tmp_path / "tensorboard"), {event_accumulator.IMAGES: 3}
    )
    steps = [event.step for event in kept.Reload().Images("delve/saturation")]
    assert (len(steps), steps[-1]) == (3, 8)


@pytest.mark.parametrize("options", [{}, {**FIGURES, "nosave": True}], ids=["default", "nosave"])
def test_there_is_no_figure_unless_it_is_wanted(tmp_path, options):
    train(tmp_path, "tensorboard", range(2), **options)
    assert accumulator(tmp_path / "tensorboard").Tags()["images"] == []


def test_without_delve_plot_figures_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "delve_plot", None)
    for name in ("delve_plot.figures", "delve_tensorboard.figures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    writer = TensorBoardWriter(tmp_path, figures=True)
    with pytest.raises(WriterConfigurationError, match=r"pip install \./delve_plugins/delve-plot"):
        writer.start(run_info(tmp_path))
    writer.start(run_info(tmp_path, images=False))


def test_neither_tensorboard_nor_matplotlib_is_imported_before_it_is_needed():
    code = "import sys, delve_tensorboard as d; d.TensorBoardWriter('x', figures=True);"
    code += "slow = {'tensorboard', 'delve_plot', 'matplotlib', 'tensorflow'};"
    code += "sys.exit(bool(slow & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
