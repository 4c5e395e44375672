"""Files that are not Delve's, and figures that fail: neither costs the others."""

import errno
import os
import resource
import shutil
import signal

import numpy as np
import pytest
from delve_plot import PlotWriter
from delve_plot.signature import is_signed, is_whole
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from delve.errors import WriterConfigurationError
from delve.records import Metric, Origin, RunInfo
from delve.testing import train

pytestmark = pytest.mark.usefixtures("bare_figures")

BOTH = {Metric(mode, "saturation", "fc"): 0.5 for mode in ("train", "eval")}
EVERY = {"stats": ["lsat_train"], "writer_args": {"plot": {"every": 1, "dpi": 40}}}


def by_matplotlib(path):
    figure = Figure((1, 1))
    FigureCanvasAgg(figure).print_png(path)


def by_pillow(path):
    Image.new("RGB", (3, 3)).save(path)


def no_figure(path):
    path.write_bytes(b"notes")


def empty(path):
    path.touch()


def torn(path):
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXtSoft")


FOREIGN = [by_matplotlib, by_pillow, no_figure, empty, torn]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def started(folder, first=0, **options):
    writer = PlotWriter(folder, dpi=40, every=1, **options)
    run = RunInfo(folder, "id", 0, initial_epoch=first, epochs=tuple(range(first)))
    if first:
        writer.resume_from_saved_state(first, run)
    else:
        writer.start()
    return writer, run


def save(writer, run, epoch, metrics=BOTH):
    writer.add_scalars(dict(metrics), epoch)
    writer.save(epoch, run)


@pytest.mark.parametrize("make", FOREIGN)
@pytest.mark.parametrize("first", [0, 1])
def test_figures_of_others_are_neither_removed_nor_replaced(tmp_path, make, first, caplog):
    place = tmp_path / "plots/train-saturation"
    place.mkdir(parents=True)
    for name in ("epoch00001.png", "epoch00007.png", "heatmap.png"):
        make(place / name)
    before = content(place)
    writer, run = started(tmp_path, first)
    for epoch in range(first, 3):
        save(writer, run, epoch)
    writer.close(run)
    after = content(place)
    assert {path: after[path] for path in before} == before
    assert is_signed(place / "epoch00002.png")
    assert names(tmp_path / "plots/eval-saturation")[-2:] == ["epoch00002.png", "heatmap.png"]
    for path in before:
        assert str(path) in caplog.text


@pytest.mark.parametrize("left", ["zeros", "cut", "holes", "first sector", "header"])
def test_what_a_power_cut_left_is_drawn_again(tmp_path, left, caplog):
    train(tmp_path, "plot", range(4), **EVERY)
    place = tmp_path / "plots/train-saturation"
    before = content(place)
    empty = place / "epoch00000.png"
    empty.write_bytes(b"")
    for name in ("epoch00001.png", "epoch00002.png", "heatmap.png"):
        whole = before[place / name]
        half = len(whole) // 2
        remains = {
            "zeros": bytes(len(whole)),
            "cut": whole[:half],
            "holes": whole[:half] + bytes(200) + whole[half + 200 :],
            "first sector": bytes(512) + whole[512:],
            "header": whole[:41] + bytes(len(whole) - 41),
        }
        (place / name).write_bytes(remains[left])
    train(tmp_path, "plot", range(3, 4), **EVERY)
    after = content(place)
    for name in ("epoch00001.png", "epoch00002.png"):
        assert after[place / name] == before[place / name]
    assert after[empty] == b""
    assert f"{empty} is no whole figure, and stays" in caplog.text
    assert is_whole(place / "heatmap.png")
    assert "figures of epochs 1-2 were damaged" in caplog.text


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "dangling link"])
def test_what_is_no_plain_file_costs_its_figure_alone(tmp_path, kind, caplog):
    place = tmp_path / "plots/train-saturation"
    place.mkdir(parents=True)
    target, other = place / "epoch00000.png", tmp_path / "other.png"
    if kind == "folder":
        target.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to(other)
        if kind == "link":
            other.write_bytes(b"mine")
    writer, run = started(tmp_path)
    for epoch in range(2):
        save(writer, run, epoch)
    writer.close(run)
    assert names(place) == ["epoch00000.png", "epoch00001.png", "heatmap.png"]
    assert names(tmp_path / "plots/eval-saturation") == names(place)
    assert caplog.text.count("in its way") == 1
    assert not other.exists() or other.read_bytes() == b"mine"
    assert not target.is_file() or target.is_symlink()


def test_a_file_in_the_place_of_a_folder_costs_its_statistic_alone(tmp_path, caplog):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/train-saturation").write_text("mine")
    writer, run = started(tmp_path)
    for epoch in range(2):
        save(writer, run, epoch)
    writer.close(run)
    assert (tmp_path / "plots/train-saturation").read_text() == "mine"
    assert len(names(tmp_path / "plots/eval-saturation")) == 3
    assert caplog.text.count("in its way") == 1


def test_a_file_in_the_place_of_all_is_refused_by_name(tmp_path):
    (tmp_path / "plots").write_text("mine")
    with pytest.raises(WriterConfigurationError, match="plots is no folder"):
        started(tmp_path)
    assert (tmp_path / "plots").read_text() == "mine"


def test_folders_of_others_stay_though_they_are_empty(tmp_path):
    (tmp_path / "plots/train-mine").mkdir(parents=True)
    started(tmp_path)
    assert (tmp_path / "plots/train-mine").is_dir()


def test_a_copied_folder_goes_on_with_its_own_figures_and_the_original_keeps_its(tmp_path):
    train(tmp_path / "a", "plot", range(4), **EVERY)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    before = content(tmp_path / "a")
    writer = PlotWriter(tmp_path / "b", dpi=40, every=1)
    origin = Origin("id", str(tmp_path / "a"))
    run = RunInfo(tmp_path / "b", "new", 0, initial_epoch=2, epochs=(0, 1), origin=origin)
    assert writer.resume_from_saved_state(2, run) == 0
    assert names(tmp_path / "b/plots/train-saturation") == ["epoch00000.png", "epoch00001.png"]
    for epoch in range(3):
        save(writer, run, epoch)
    writer.close(run)
    assert names(tmp_path / "b/plots/train-saturation") == [
        *(f"epoch0000{epoch}.png" for epoch in range(3)),
        "heatmap.png",
    ]
    assert content(tmp_path / "a") == before


class TestFailures:
    def test_a_function_of_the_users_that_fails_costs_its_figures_alone(self, tmp_path, caplog):
        def fail(axes):
            if "Total" in axes.figure.get_suptitle():
                raise ZeroDivisionError("my mistake")

        writer, run = started(tmp_path, plot_manipulation_func=fail)
        metrics = {Metric("train", "covariance-trace", "fc"): 2.0, **BOTH}
        for epoch in range(3):
            save(writer, run, epoch, metrics)
        writer.close(run)
        assert names(tmp_path / "plots/train-covariance-trace") == ["heatmap.png"]
        for mode in ("train", "eval"):
            assert len(names(tmp_path / f"plots/{mode}-saturation")) == 4
        assert caplog.text.count("ZeroDivisionError: my mistake") == 1

    def test_a_function_that_breaks_what_is_rendered_later_does_no_harm(self, tmp_path, caplog):
        def fail(axes):
            axes.set_title("$broken")
            axes.title.set_parse_math(True)
            axes.set_title(r"$\broken$")

        writer, run = started(tmp_path, plot_manipulation_func=fail)
        save(writer, run, 0)
        writer.close(run)
        assert names(tmp_path / "plots/train-saturation") == ["heatmap.png"]
        assert caplog.text.count("cannot be drawn") == 1

    def test_a_tracker_goes_on_and_calls_it_no_failure_of_the_writer(self, tmp_path, caplog):
        def fail(axes):
            raise OSError(errno.ENOENT, "a font of mine")

        options = {"stats": ["lsat_train"]}
        writer = PlotWriter(tmp_path, plot_manipulation_func=fail, every=1, dpi=40)
        train(tmp_path, [writer], range(3), **options)
        assert "a font of mine" in caplog.text
        assert "failed at epoch" not in caplog.text
        assert names(tmp_path / "plots/train-saturation") == ["heatmap.png"]

    @pytest.mark.parametrize(
        "samples",
        [
            np.full((4, 2), np.nan),
            np.array([[np.inf, 1.0], [1.0, 2.0]]),
            np.array([[1e308, -1e308], [1.0, 2.0]]),
            np.array([[5e-324, 0.0]]),
            np.zeros((0, 2)),
            np.ones((3, 1)),
            np.ones(7),
            np.array("text"),
        ],
        ids=["nan", "inf", "huge", "tiny", "none", "one column", "flat", "text"],
    )
    def test_samples_that_cannot_be_scattered_cost_nothing_else(self, tmp_path, samples):
        writer, run = started(tmp_path)
        writer.add_array(Metric("train", "embedded-sample", "fc"), samples, 0)
        save(writer, run, 0)
        writer.close(run)
        assert len(names(tmp_path / "plots/train-saturation")) == 2

    @pytest.mark.parametrize(
        "layer",
        [
            "x" * 10_000,
            ".".join("block" for _ in range(2000)),
            "a\0b",
            "\udc80",
            "$\\frac$",
            "",
            "\n",
        ],
        ids=["long", "deep", "nul", "surrogate", "formula", "empty", "line break"],
    )
    def test_names_of_any_kind_cost_no_other_figure(self, tmp_path, layer, caplog):
        metrics = {Metric("train", "saturation", layer): 0.5, Metric("eval", "idim", "fc"): 1.0}
        metrics |= {Metric("train", "saturation", "fc"): 0.25}
        writer, run = started(tmp_path)
        save(writer, run, 0, metrics)
        writer.close(run)
        assert names(tmp_path / "plots/eval-idim") == ["epoch00000.png", "heatmap.png"]
        drawn = (tmp_path / "plots/train-saturation/epoch00000.png").exists()
        assert drawn or "cannot be drawn" in caplog.text

    @pytest.mark.parametrize("stat", ["s" * 300, "S/../..", "nul\0"])
    def test_statistics_of_any_name_have_a_file(self, tmp_path, stat):
        writer, run = started(tmp_path)
        save(writer, run, 0, {Metric("train", stat, "fc"): 0.5, **BOTH})
        writer.close(run)
        assert len(list(tmp_path.glob("plots/*/epoch00000.png"))) == 3
        assert names(tmp_path) == ["plots"]


def test_a_disk_that_takes_small_files_alone_gets_those_and_the_rest_later(tmp_path):
    writer, run = started(tmp_path)
    metrics = {Metric("eval", "saturation", "fc"): 0.5}
    metrics = {Metric("train", "saturation", f"layer{k}"): k / 99 for k in range(99)} | metrics
    save(writer, run, 0, metrics)
    place = tmp_path / "plots/train-saturation"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = (place / "epoch00000.png").stat().st_size - 1000
    assert size > (tmp_path / "plots/eval-saturation/epoch00000.png").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        with pytest.raises(OSError, match=r"epoch00001\.png"):
            save(writer, run, 1, metrics)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "epoch00001.png" in names(tmp_path / "plots/eval-saturation")
    assert names(place) == ["epoch00000.png"]
    save(writer, run, 1, metrics)
    writer.close(run)
    assert names(place) == ["epoch00000.png", "epoch00001.png", "heatmap.png"]
