"""What is no number and fails: it costs no number, and is named once."""

import io
import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from delve_plot.figures import rgba_pixels, saturation_figure
from delve_tensorboard import TensorBoardWriter, figures, summaries
from PIL import Image
from tensorboard_runs import accumulator, read_points, serving

from delve import Metric, RunInfo
from delve.errors import ArgumentError, RejectedError
from delve.files.pace import Pace
from delve.testing import journal_rows, train

FIGURES = {"writer_args": {"figures": True}}
SATURATION = {Metric("train", "saturation", "a"): 0.5}


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.setenv("PATH", "")  # without LaTeX, if the machine has it
    before = dict(dict.items(mpl.rcParams))
    yield lambda changed: dict.update(mpl.rcParams, changed)
    dict.update(mpl.rcParams, before)


def images(folder, tag="delve/saturation"):
    held = accumulator(folder / "tensorboard")
    return held.Images(tag) if tag in held.Tags()["images"] else []


def assert_has_all_numbers(folder):
    points = {(epoch, name): value for epoch, name, value in read_points(folder)}
    assert points == {
        (epoch, name): pytest.approx(value, rel=1e-6)
        for epoch, row in journal_rows(folder).items()
        for name, value in row.items()
    }
    assert points


def started(folder, **told):
    writer = TensorBoardWriter(folder, figures=told.pop("figures", False))
    run = RunInfo(folder, "0123456789", 0, **told)
    writer.start(run)
    return writer, run


def save(writer, run, epoch, metrics=SATURATION, **scalars):
    for name, value in scalars.items():
        writer.add_scalar(name, value)
    writer.add_scalars(metrics)
    writer.save(epoch, 1000 * epoch, run)


def test_a_figure_is_drawn_though_the_users_settings_would_make_it_fail(tmp_path, settings):
    settings({"text.usetex": True, "figure.facecolor": "black"})
    train(tmp_path, "tensorboard", range(3), **FIGURES)
    assert_has_all_numbers(tmp_path)
    assert [event.step for event in images(tmp_path)] == [0, 2]
    with Image.open(io.BytesIO(images(tmp_path)[0].encoded_image_string)) as image:
        assert image.getpixel((2, 2)) == (255, 255, 255, 255)


def test_a_figure_that_fails_costs_no_number_and_is_named_once(tmp_path, settings, caplog):
    settings({"text.usetex": True})
    options = {"writer_args": {"figures": True, "style": "user"}}
    train(tmp_path, "tensorboard", range(4), **options)
    assert_has_all_numbers(tmp_path)
    assert images(tmp_path) == []
    assert caplog.text.count("cannot be drawn") == 1
    assert "failed at epoch" not in caplog.text
    settings({"text.usetex": False})  # the epochs without a figure are whole
    train(tmp_path, "tensorboard", range(4, 5), **options)
    assert_has_all_numbers(tmp_path)
    assert [event.step for event in images(tmp_path)] == [4]


def test_the_numbers_are_in_the_files_before_a_figure_is_tried(tmp_path, monkeypatch):
    seen = []

    def draw(*arguments):
        seen.append({epoch for epoch, *_ in read_points(tmp_path)})
        raise RuntimeError("no figure today")

    monkeypatch.setattr(figures, "_png", draw)
    monkeypatch.setattr(Pace, "is_due", lambda _: True)
    train(tmp_path, "tensorboard", range(3), **FIGURES)
    assert seen == [{0}, {0, 1}, {0, 1, 2}]
    assert_has_all_numbers(tmp_path)


def test_a_kill_within_the_drawing_loses_no_number(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from delve_tensorboard import figures;"
        "from delve.files.pace import Pace; from delve.testing import train;"
        "Pace.is_due = lambda _: True;"
        "figures._png = lambda f, p=figures._png, n=[]: n.append(0) or ("
        "p(f) if len(n) < 3 else os.kill(os.getpid(), signal.SIGKILL));"
        f"train(Path(sys.argv[1]), 'tensorboard', range(5), **{FIGURES!r})"
    )
    path = os.pathsep.join(sys.path)
    environment = os.environ | {"PYTHONPATH": path}
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, check=False
    )
    assert child.returncode == -9
    assert_has_all_numbers(tmp_path)
    assert {epoch for epoch, *_ in read_points(tmp_path)} == {0, 1, 2}
    assert [event.step for event in images(tmp_path)] == [0, 1]
    train(tmp_path, "tensorboard", range(3, 4), **FIGURES)
    assert_has_all_numbers(tmp_path)
    assert [event.step for event in images(tmp_path)] == [0, 1, 3]


def test_figures_of_void_epochs_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(Pace, "is_due", lambda _: True)
    train(tmp_path, "tensorboard", range(5), **FIGURES)
    train(tmp_path, "tensorboard", range(2, 3))
    assert [event.step for event in images(tmp_path)] == [0, 1]
    assert_has_all_numbers(tmp_path)


@pytest.mark.parametrize("what", ["histogram", "layout", "hyperparameters"])
def test_each_other_part_may_fail_on_its_own(tmp_path, monkeypatch, caplog, what):
    def fail(*arguments):
        raise ValueError("the schema has changed")

    monkeypatch.setattr(summaries, what, fail)
    options = {"stats": ["lsat", "spectrum"], "config": {"lr": 0.1}}
    train(tmp_path, "tensorboard", range(3), **options)
    assert_has_all_numbers(tmp_path)
    assert caplog.text.count("the schema has changed") == 1
    held = accumulator(tmp_path / "tensorboard").Tags()["tensors"]
    spectra = accumulator(tmp_path / "tensorboard/train").Tags()["tensors"]
    assert ("spectrum/000.0" in spectra) == (what != "histogram")
    assert ("custom_scalars__config__" in held) == (what != "layout")
    assert ("_hparams_/session_start_info" in held) == (what != "hyperparameters")


class Unspeakable:
    def __str__(self):
        raise RuntimeError("not a word")


def test_a_configuration_that_cannot_be_shown_costs_its_page_alone(tmp_path, caplog):
    writer, run = started(tmp_path, config={"lr": 0.1, "thing": Unspeakable()})
    save(writer, run, 0, loss=1.0)
    writer.close(None, run)
    assert {name for _, name, _ in read_points(tmp_path)} == {"loss", "train-saturation/a"}
    assert "not a word" in caplog.text


def test_an_epoch_that_comes_late_has_its_histogram_in_its_place(tmp_path):
    writer, run = started(tmp_path)
    spectrum = Metric("train", "spectrum", "a")
    for epoch in (0, 2, 1, 1, 3):
        writer.add_array(spectrum, np.arange(epoch + 3.0))
        save(writer, run, epoch)
    writer.close(None, run)
    held = accumulator(tmp_path / "tensorboard/train")
    assert [event.step for event in held.Tensors("spectrum/000.a")] == [0, 1, 2, 3]
    assert [event.step for event in held.Scalars("saturation/000.a")] == [0, 1, 2, 3]


def test_a_broken_backend_in_the_environment_costs_the_figures_alone(tmp_path):
    code = (
        "import sys; from pathlib import Path; from delve.testing import train;"
        f"train(Path(sys.argv[1]), 'tensorboard', range(2), **{FIGURES!r})"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "MPLBACKEND": "nonsense"}
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    assert_has_all_numbers(tmp_path)
    assert "nonsense" in child.stderr


class TestTags:
    RESERVED = (
        "custom_scalars__config__",
        "_hparams_/experiment",
        "_hparams_/session_start_info",
        "_hparams_/session_end_info",
    )

    @pytest.mark.parametrize("name", RESERVED)
    def test_a_name_that_ends_a_page_of_tensorboard_is_refused_for_good(self, tmp_path, name):
        writer, run = started(tmp_path)
        with pytest.raises(RejectedError) as refused:
            writer.add_scalar(name, 1.0)
        assert refused.value.items == (name,)
        save(writer, run, 0, loss=1.0)
        assert {name for _, name, _ in read_points(tmp_path)} == {"loss", "train-saturation/a"}

    def test_the_tag_of_the_figures_is_refused_only_where_there_are_any(self, tmp_path):
        writer, _ = started(tmp_path / "a", figures=True)
        with pytest.raises(RejectedError):
            writer.add_scalar("delve/saturation", 1.0)
        started(tmp_path / "b")[0].add_scalar("delve/saturation", 1.0)

    def test_figures_make_way_for_a_number_that_had_the_tag_before(self, tmp_path):
        writer = TensorBoardWriter(tmp_path, figures=True)
        run = RunInfo(tmp_path, "id", 0, initial_epoch=1, metrics=("delve/saturation",))
        writer.resume_from_saved_state(1, run)
        save(writer, run, 1, **{"delve/saturation": 1.0})
        writer.close(None, run)
        assert [event.step for event in images(tmp_path, "delve/saturation (picture)")] == [1]
        assert accumulator(tmp_path / "tensorboard").Scalars("delve/saturation")[0].value == 1

    @pytest.mark.parametrize("load_fast", [False, True])
    def test_both_servers_show_numbers_of_any_other_name(self, tmp_path, load_fast):
        names = ["", "a\0b", "x" * 10_000, "a\nb", "../..", "delve/saturation", "_hparams_/mine"]
        writer, run = started(tmp_path / "runs/a", config={"lr": 1})
        for epoch in range(2):
            save(writer, run, epoch, **dict.fromkeys(names, 0.5))
        writer.close(None, run)
        expected = {
            (epoch, name, 0.5) for epoch in range(2) for name in [*names, "train-saturation/a"]
        }
        with serving(tmp_path / "runs", load_fast) as server:
            server.wait_for(lambda: set(server.points("a")) >= expected)
            assert set(server.points("a")) == expected


def test_the_last_figure_is_the_one_of_the_last_epoch(tmp_path):
    writer, run = started(tmp_path, figures=True, layers=("a",))
    for epoch in range(3):
        save(writer, run, epoch, {Metric("train", "saturation", "a"): epoch / 4})
    writer.close(None, run)
    first, last = images(tmp_path)
    assert (first.step, last.step, last.wall_time) == (0, 2, 2.0)
    drawn = saturation_figure({Metric("train", "saturation", "a"): 0.5}, ("a",), epoch=2)
    with Image.open(io.BytesIO(last.encoded_image_string)) as image:
        np.testing.assert_array_equal(np.asarray(image), rgba_pixels(drawn))
    writer.close(None, run)
    assert len(images(tmp_path)) == 2


def test_a_style_that_is_none_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="style must be 'delve', or 'user'"):
        TensorBoardWriter(tmp_path, style="ggplot")
