import itertools
import signal
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from delve_plot import CSVandPlottingWriter, PlotWriter
from PIL import Image

from delve.errors import ArgumentError, WriterConfigurationError, WriterNotFoundError
from delve.records import Metric, RunInfo
from delve.testing import journal_entries, train, train_and_die

pytestmark = pytest.mark.usefixtures("bare_figures")

SATURATION = Metric("train", "saturation", "fc")
EVERY = {"stats": ["lsat_train"], "writer_args": {"plot": {"every": 1, "dpi": 40}}}
MORE = EVERY | {"stats": ["lsat", "idim"]}


def figures(folder, group="train-saturation"):
    """The epochs whose figures are there; every file in the folder is a whole PNG."""
    epochs = []
    for path in sorted((folder / "plots" / group).iterdir()):
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
        if path.name != "heatmap.png":
            epochs.append(int(path.stem.removeprefix("epoch")))
    return epochs


class Heatmaps:
    """What the writer put into its heatmaps: {(mode, stat): {layer: {epoch: value}}}."""

    def __init__(self, monkeypatch):
        from delve_plot import heatmap

        self.drawn = {}
        self.count = 0
        original = heatmap.heatmap_figure

        def note(values, epochs, layers, *, mode, stat, **options):
            self.count += 1
            self.drawn[mode, stat] = {
                layer: {e: v for e, v in zip(epochs, row, strict=True) if not np.isnan(v)}
                for layer, row in zip(layers, values.tolist(), strict=True)
            }
            return original(values, epochs, layers, mode=mode, stat=stat, **options)

        monkeypatch.setattr(heatmap, "heatmap_figure", note)


@pytest.fixture
def heatmaps(monkeypatch):
    return Heatmaps(monkeypatch)


def recorded(folder):
    """The journal's layer metrics in the form of :class:`Heatmaps`."""
    table = {}
    for epoch, entry in journal_entries(folder).items():
        for key, value in entry["metrics"].items():
            metric = Metric.parse(key)
            stat = table.setdefault((metric.mode, metric.stat), {})
            stat.setdefault(metric.layer, {})[epoch] = value
    return table


class Run:
    """Feeds a writer directly."""

    def __init__(self, writer, folder, **info):
        self.writer = writer
        self.info = RunInfo(folder, "id", 0, **info)

    def save(self, epoch, metrics=None, **scalars):
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.add_scalars(dict(metrics or {SATURATION: 0.5}), epoch)
        self.writer.save(epoch, self.info)

    def close(self):
        self.writer.close(self.info)


def started(folder, images=True, **arguments):
    writer = PlotWriter(folder, **{"dpi": 40, **arguments})
    writer.start()
    return Run(writer, folder, images=images)


def resumed(writer, folder, first):
    """A run that was resumed, and fed again what is before that epoch."""
    run = Run(writer, folder, initial_epoch=first, epochs=tuple(range(first)))
    writer.resume_from_saved_state(first, run.info)
    for epoch in range(first):
        run.save(epoch)
    return run


class TestRuns:
    def test_fresh(self, tmp_path, heatmaps):
        train(tmp_path, "plot", range(3), **MORE)
        groups = {path.name for path in (tmp_path / "plots").iterdir()}
        stats = ("saturation", "intrinsic-dimensionality")
        assert groups == {f"{mode}-{stat}" for mode in ("train", "eval") for stat in stats}
        for group in groups:
            assert figures(tmp_path, group) == [0, 1, 2]
            assert (tmp_path / "plots" / group / "heatmap.png").exists()
        assert heatmaps.drawn == recorded(tmp_path)

    @pytest.mark.parametrize("first", [4, 2], ids=["at the end", "lower than recorded"])
    def test_resumed_after_a_normal_end(self, tmp_path, heatmaps, first):
        train(tmp_path, "plot", range(4), **EVERY)
        kept = (tmp_path / "plots/train-saturation/epoch00001.png").stat().st_mtime_ns
        train(tmp_path, "plot", [first], **EVERY)
        assert figures(tmp_path) == list(range(first + 1))
        path = tmp_path / "plots/train-saturation/epoch00001.png"
        assert path.stat().st_mtime_ns == kept  # not drawn again
        assert heatmaps.drawn == recorded(tmp_path)

    def test_resumed_after_a_kill_between_the_journal_and_the_writer(self, tmp_path, heatmaps):
        train_and_die(tmp_path, "plot", range(3), "before-writer", **EVERY)
        assert figures(tmp_path) == [0, 1, 2]
        train(tmp_path, "plot", [4], **EVERY)
        assert figures(tmp_path) == [0, 1, 2, 3, 4]
        assert list(heatmaps.drawn["train", "saturation"]["0"]) == [0, 1, 2, 3, 4]
        assert heatmaps.drawn == recorded(tmp_path)

    def test_resumed_after_a_kill_while_the_writer_was_behind(self, tmp_path, heatmaps):
        train(tmp_path, "csv", range(5), **EVERY | {"writer_args": {}})
        train(tmp_path, ["csv", "plot"], [5], **EVERY)  # as one that had come to none
        assert figures(tmp_path) == [0, 1, 2, 3, 4, 5]
        for epoch in (1, 4, 5):  # removed by its owner; never come to; the same
            (tmp_path / f"plots/train-saturation/epoch{epoch:05d}.png").unlink()
        Image.new("L", (2, 2)).save(tmp_path / "plots/train-saturation/epoch00099.png")  # a user's
        train(tmp_path, ["csv", "plot"], [6], **EVERY)
        assert figures(tmp_path) == [0, 2, 3, 4, 5, 6, 99]
        assert heatmaps.drawn == recorded(tmp_path)

    def test_resumed_twice_within_a_second(self, tmp_path, heatmaps):
        for first in (0, 2, 1):
            train(tmp_path, "plot", range(first, first + 2), **EVERY)
        assert figures(tmp_path) == [0, 1, 2]
        assert heatmaps.drawn == recorded(tmp_path)

    def test_a_new_run_over_an_old_one(self, tmp_path, heatmaps):
        train(tmp_path, "plot", range(3), **MORE)
        heatmaps.drawn.clear()
        train(tmp_path, "plot", [0], **EVERY)
        assert figures(tmp_path) == [0]
        groups = {path.name for path in (tmp_path / "plots").iterdir()}
        assert groups == {"train-saturation"}
        assert heatmaps.drawn == recorded(tmp_path)

    def test_resume_redraws_the_heatmap_before_the_next_epoch(self, tmp_path):
        class Witness:
            def save(self, epoch):  # is served before the plots
                seen.append((epoch, heatmap.exists()))

        seen = []
        train(tmp_path, "plot", range(3), **EVERY)
        heatmap = tmp_path / "plots/train-saturation/heatmap.png"
        heatmap.unlink()
        train(tmp_path, [Witness(), "plot"], [2], **EVERY)
        assert seen[-1] == (2, True)

    def test_resume_leaves_no_heatmap_of_epochs_that_are_void(self, tmp_path):
        run = started(tmp_path)
        run.save(0)
        run.save(1, {SATURATION: 0.5, Metric("eval", "saturation", "fc"): 0.5})
        run.close()
        assert (tmp_path / "plots/eval-saturation/heatmap.png").exists()
        resumed(PlotWriter(tmp_path, dpi=40), tmp_path, 1).close()
        assert (tmp_path / "plots/train-saturation/heatmap.png").exists()
        assert not (tmp_path / "plots/eval-saturation").exists()

    def test_nosave_draws_nothing_and_leaves_no_void_figure(self, tmp_path):
        train(tmp_path, "plot", range(3), **EVERY)
        train(tmp_path, "plot", [2], nosave=True, **EVERY)
        assert figures(tmp_path) == [0, 1]
        assert not (tmp_path / "plots/train-saturation/heatmap.png").exists()
        train(tmp_path, "plot", [0], nosave=True, **EVERY)
        assert not any((tmp_path / "plots").glob("*"))


class TestPace:
    def test_quick_epochs_are_skipped_but_the_first_and_the_last(self, tmp_path, heatmaps):
        run = started(tmp_path)
        for epoch in range(200):
            run.save(epoch)
        assert figures(tmp_path) == [0]
        run.close()
        assert figures(tmp_path) == [0, 199]
        assert list(heatmaps.drawn["train", "saturation"]["fc"]) == list(range(200))
        assert heatmaps.count == 1

    def test_slow_epochs_are_all_drawn(self, tmp_path):
        run = started(tmp_path)
        for epoch in range(3):
            with mock.patch("time.monotonic", return_value=time.monotonic() + 60 * (epoch + 1)):
                run.save(epoch)
        assert figures(tmp_path) == [0, 1, 2]

    def test_the_first_epoch_gets_a_share_of_the_time_so_far_and_the_next_waits(
        self, tmp_path, monkeypatch
    ):
        groups = [f"train-{letter}" for letter in "abcd"]
        metrics = {Metric("train", letter, "fc"): 0.5 for letter in "abcd"}

        def paint(axes):  # a figure takes two seconds
            now[0] += 2

        def drawn():
            there = [group for group in groups if (tmp_path / "plots" / group).exists()]
            return [figures(tmp_path, group) for group in there]

        now = [1000.0]
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        run = started(tmp_path, plot_manipulation_func=paint)
        now[0] += 60  # of which 3 s are 5 %
        run.save(0, metrics)
        assert drawn() == [[0], [0]]
        assert not list(tmp_path.glob("plots/*/heatmap.png"))
        now[0] += 310  # 16 s for four figures and four heatmaps would be more than 5 %
        run.save(1, metrics)
        assert drawn() == [[0], [0]]
        now[0] += 20
        run.save(2, metrics)
        assert drawn() == [[0, 2], [0, 2], [2], [2]]
        assert len(list(tmp_path.glob("plots/*/heatmap.png"))) == 4

    def test_what_the_first_epoch_lacks_is_drawn_when_the_run_ends_with_it(self, tmp_path):
        run = started(tmp_path)
        metrics = {Metric(mode, "saturation", "fc"): 0.5 for mode in ("train", "eval")}
        with mock.patch("time.monotonic", side_effect=itertools.count(time.monotonic())):
            run.save(0, metrics)
        assert not (tmp_path / "plots/eval-saturation").exists()
        first = tmp_path / "plots/train-saturation/epoch00000.png"
        before = first.stat().st_mtime_ns
        run.close()
        assert figures(tmp_path, "eval-saturation") == [0]
        assert first.stat().st_mtime_ns == before  # not drawn again
        assert len(list(tmp_path.glob("plots/*/heatmap.png"))) == 2

    def test_every_draws_the_first_epoch_whole_without_heatmaps(self, tmp_path):
        run = started(tmp_path, every=1)
        run.save(0, {Metric(mode, "saturation", "fc"): 0.5 for mode in ("train", "eval")})
        for mode in ("train", "eval"):
            folder = tmp_path / "plots" / f"{mode}-saturation"
            assert [path.name for path in folder.iterdir()] == ["epoch00000.png"]

    def test_every_draws_the_epochs_that_it_divides_and_the_last(self, tmp_path):
        run = started(tmp_path, every=3)
        for epoch in range(9):
            run.save(epoch)
        run.close()
        assert figures(tmp_path) == [0, 3, 6, 8]

    def test_what_a_resume_draws_is_not_drawn_again_at_once(self, tmp_path, heatmaps):
        run = resumed(PlotWriter(tmp_path, dpi=40), tmp_path, 2)
        assert heatmaps.count == 1
        run.save(2)
        assert heatmaps.count == 1
        run.close()
        assert heatmaps.count == 2
        assert figures(tmp_path) == [2]

    def test_a_second_close_draws_nothing_again(self, tmp_path, heatmaps):
        run = started(tmp_path)
        run.save(0)
        run.close()
        count = heatmaps.count
        (tmp_path / "plots/train-saturation/epoch00000.png").unlink()
        run.close()
        assert heatmaps.count == count
        assert figures(tmp_path) == []


class TestOneObjectForTwoRuns:
    def test_a_new_run_is_drawn_as_the_first_was(self, tmp_path, heatmaps):
        writer = PlotWriter(tmp_path, dpi=40)
        for value in (0.25, 0.75):
            writer.start()
            run = Run(writer, tmp_path)
            run.save(0, {SATURATION: value})
            assert figures(tmp_path) == [0]
            run.close()
            assert heatmaps.drawn == {("train", "saturation"): {"fc": {0: value}}}
            assert (tmp_path / "plots/train-saturation/heatmap.png").exists()

    def test_a_resumed_run_gets_its_heatmap_and_its_last_epoch(self, tmp_path, heatmaps):
        run = started(tmp_path)
        for epoch in range(3):
            run.save(epoch)
        run.close()
        count = heatmaps.count
        run = resumed(run.writer, tmp_path, 2)
        assert heatmaps.count == count + 1
        run.save(2, {SATURATION: 0.75})
        run.close()
        assert figures(tmp_path) == [0, 2]
        assert heatmaps.drawn["train", "saturation"]["fc"] == {0: 0.5, 1: 0.5, 2: 0.75}

    def test_a_failed_start_leaves_nothing_of_the_first_run_to_draw(self, tmp_path):
        run = started(tmp_path)
        run.save(0)
        run.save(1)
        (tmp_path / "plots").rename(tmp_path / "elsewhere")
        (tmp_path / "plots").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(WriterConfigurationError):
            run.writer.start()
        run.close()
        assert not (tmp_path / "elsewhere/train-saturation/epoch00001.png").exists()

    def test_a_primary_metric_that_does_not_come_again_is_named(self, tmp_path, caplog):
        run = started(tmp_path, primary_metric="accuracy")
        run.save(0, accuracy=0.75)
        run.close()
        run.writer.start()
        run.save(0)
        run.close()
        assert "'accuracy'" in caplog.text


class TestFigures:
    def test_the_primary_metric_is_drawn(self, tmp_path):
        seen = []
        run = started(tmp_path, primary_metric="accuracy", plot_manipulation_func=seen.append)
        run.save(0, accuracy=0.75, loss=2.0)
        texts = [text.get_text() for text in seen[0].figure.legends[0].get_texts()]
        assert texts == ["accuracy = 0.75"]

    def test_a_primary_metric_that_never_came_is_named(self, tmp_path, caplog):
        run = started(tmp_path, primary_metric="acuracy")
        run.save(0, accuracy=0.75)
        run.close()
        assert "'acuracy'" in caplog.text

    def test_the_users_function_changes_the_figure(self, tmp_path):
        def paint(axes):
            axes.figure.set_facecolor("red")
            axes.set_axis_off()
            return axes

        run = started(tmp_path, plot_manipulation_func=paint)
        run.save(0)
        with Image.open(tmp_path / "plots/train-saturation/epoch00000.png") as image:
            assert image.convert("RGB").getpixel((2, 2)) == (255, 0, 0)

    def test_size_and_resolution_are_the_users(self, tmp_path):
        run = started(tmp_path, figsize=(6, 4), dpi=50)
        run.save(0)
        run.close()
        for name in ("epoch00000.png", "heatmap.png"):
            with Image.open(tmp_path / "plots/train-saturation" / name) as image:
                assert image.size == (300, 200)

    def test_eigenvalues_share_a_figure_and_the_heatmap_shows_the_largest(self, tmp_path, heatmaps):
        run = started(tmp_path)
        run.save(0, {Metric("train", f"spectrum-{k}", "fc"): 9.0 / k for k in range(1, 6)})
        run.close()
        assert figures(tmp_path, "train-spectrum") == [0]
        assert heatmaps.drawn == {("train", "spectrum"): {"fc": {0: 9.0}}}

    def test_embedded_samples_are_scattered(self, tmp_path):
        seen = []
        run = started(tmp_path, plot_manipulation_func=seen.append, every=1)
        points = np.random.default_rng(0).normal(size=(20, 2))
        run.info = RunInfo(tmp_path, "id", 0, layers=("fc", "conv"))
        for layer, scale in (("conv", 1), ("fc", 2)):
            name = Metric("eval", "embedded-sample", layer)
            run.writer.add_array(name, points * scale, 0)
        run.writer.save(0, run.info)
        assert figures(tmp_path, "eval-embedded-sample") == [0]
        assert [axes.get_title() for axes in seen if axes.get_visible()] == ["fc", "conv"]
        np.testing.assert_array_equal(np.array(seen[0].lines[0].get_data()).T, points * 2)
        run.save(1)
        assert figures(tmp_path, "eval-embedded-sample") == [0]  # samples belong to their epoch

    def test_what_an_unfinished_epoch_staged_does_not_leak(self, tmp_path, heatmaps):
        run = started(tmp_path)
        run.writer.add_scalars({Metric("train", "saturation", "stale"): 0.1}, 0)
        run.save(1)
        run.close()
        assert heatmaps.drawn == {("train", "saturation"): {"fc": {1: 0.5}}}

    def test_a_new_run_removes_only_what_is_ours(self, tmp_path):
        run = started(tmp_path)
        run.save(0)
        group = tmp_path / "plots/train-saturation"
        (group / ".epoch00003.png.tmp").touch()
        mine = [group / "mine.png", tmp_path / "plots/epoch00000.png"]
        mine.append(tmp_path / "plots/thesis/heatmap.png")
        for path in mine:
            path.parent.mkdir(exist_ok=True)
            path.touch()
        started(tmp_path)
        assert sorted(p for p in tmp_path.glob("plots/**/*") if p.is_file()) == sorted(mine)

    def test_links_are_not_followed_and_cost_only_their_figure(self, tmp_path, caplog):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "epoch00000.png").touch()
        run_folder = tmp_path / "run"
        (run_folder / "plots").mkdir(parents=True)
        (run_folder / "plots/train-saturation").symlink_to(elsewhere)
        run = started(run_folder, every=1)
        for epoch in range(2):
            run.save(epoch, {Metric(mode, "saturation", "fc"): 0.5 for mode in ("train", "eval")})
        run.close()
        assert [path.name for path in elsewhere.iterdir()] == ["epoch00000.png"]
        assert figures(run_folder, "eval-saturation") == [0, 1]
        assert caplog.text.count("a link in the place of a folder") == 1

    def test_a_linked_folder_is_refused(self, tmp_path):
        (tmp_path / "plots").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(WriterConfigurationError, match="is a link"):
            PlotWriter(tmp_path).start()

    def test_a_full_disk_is_named_and_a_figure_is_whole_or_not_there(self, tmp_path):
        import resource

        run = started(tmp_path)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            with pytest.raises(OSError, match=r"epoch00000\.png"):
                run.save(0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, previous)
        assert figures(tmp_path) == []
        run.save(0)
        assert figures(tmp_path) == [0]


@pytest.mark.parametrize(
    "arguments",
    [{"every": 0}, {"dpi": 0}, {"dpi": "high"}, {"fontsize": -1}, {"figsize": (3,)}],
)
def test_arguments_that_cannot_be_used_are_refused(tmp_path, arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        PlotWriter(tmp_path, **arguments)


class TestCSVandPlottingWriter:
    def test_it_writes_the_table_and_the_figures(self, tmp_path):
        train(tmp_path, CSVandPlottingWriter(tmp_path, every=1, dpi=40), range(2))
        assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3
        assert figures(tmp_path) == [0, 1]

    def test_a_path_of_a_table_puts_the_plots_beside_it(self, tmp_path):
        train(tmp_path, CSVandPlottingWriter(tmp_path / "b/results.csv", dpi=40), [0])
        assert (tmp_path / "b/results.csv").exists()
        assert figures(tmp_path / "b") == [0]

    def test_what_an_unfinished_run_staged_does_not_come_into_the_next(self, tmp_path, heatmaps):
        writer = CSVandPlottingWriter(tmp_path, dpi=40)
        writer.start()
        writer.add_scalars("", {Metric("train", "saturation", "stale"): 0.1})
        writer.add_sample_scalar(Metric("train", "embedded-sample", "stale"), np.ones((2, 2)))
        writer.start()
        writer.add_scalars("", {SATURATION: 0.5})
        writer.save(0, RunInfo(tmp_path, "id", 0))
        writer.close(RunInfo(tmp_path, "id", 0))
        assert heatmaps.drawn == {("train", "saturation"): {"fc": {0: 0.5}}}
        assert not (tmp_path / "plots/train-embedded-sample").exists()

    def test_without_the_csv_writer_it_says_how_to_install_it(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "delve_csv", None)
        with pytest.raises(WriterNotFoundError, match="delve_plugins/delve-csv"):
            CSVandPlottingWriter(Path(tmp_path))
