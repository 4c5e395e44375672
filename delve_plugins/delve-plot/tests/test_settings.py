"""Whose Matplotlib settings figures are drawn in, and that the user's stay what they are."""

import threading

import matplotlib as mpl
import numpy as np
import pytest
from cycler import cycler
from delve_plot import PlotWriter, plot_stat_level_from_results
from delve_plot.figures import rgba_pixels, saturation_figure
from delve_plot.lettering import width_of
from delve_plot.paced import PacedSaturation
from delve_plot.settings import drawn_in
from PIL import Image

from delve.errors import ArgumentError
from delve.records import Metric, RunInfo

SATURATION = {Metric("train", "saturation", f"layer{place}"): place / 4 for place in range(3)}

USETEX = {"text.usetex": True}
DARK = {
    "figure.facecolor": "black",
    "axes.facecolor": "navy",
    "text.color": "white",
    "font.size": 24,
    "font.family": ["monospace"],
    "axes.prop_cycle": cycler(color=["r", "g"]),
    "lines.linewidth": 9,
    "savefig.facecolor": "red",
    "axes.grid": True,
}
UNCHECKED = {"font.sans-serif": [3], "axes.linewidth": "thick", "font.family": "nowhere"}


@pytest.fixture
def settings(monkeypatch):
    """Sets the user's settings, also those that Matplotlib's checks would refuse."""
    monkeypatch.setenv("PATH", "")  # without LaTeX, if the machine has it
    before = dict(dict.items(mpl.rcParams))
    yield lambda changed: dict.update(mpl.rcParams, changed)
    dict.update(mpl.rcParams, before)


def raw():
    return dict(dict.items(mpl.rcParams))


def figure(folder, **options):
    writer = PlotWriter(folder, dpi=60, **options)
    run = RunInfo(folder, "id", 0)
    writer.start()
    writer.add_scalars(dict(SATURATION), 0)
    writer.save(0, run)
    writer.close(run)
    path = folder / "plots/train-saturation/epoch00000.png"
    if path.exists():
        with Image.open(path) as image:
            return np.asarray(image)
    return None


@pytest.mark.parametrize("changed", [USETEX, DARK, UNCHECKED], ids=["usetex", "dark", "unchecked"])
def test_a_figure_is_the_same_whatever_the_users_settings_are(tmp_path, settings, changed):
    plain = figure(tmp_path / "plain")
    settings(changed)
    before = raw()
    np.testing.assert_array_equal(figure(tmp_path / "changed"), plain)
    assert (tmp_path / "changed/plots/train-saturation/heatmap.png").exists()
    assert raw() == before


@pytest.mark.parametrize("changed", [USETEX, DARK, UNCHECKED], ids=["usetex", "dark", "unchecked"])
def test_paced_figures_are_the_same_too(settings, changed):
    plain = PacedSaturation(rgba_pixels).of_epoch(SATURATION, (), 0)
    settings(changed)
    drawn = PacedSaturation(rgba_pixels).of_epoch(SATURATION, (), 0)
    np.testing.assert_array_equal(drawn, plain)


def test_the_user_can_ask_for_their_own(tmp_path, settings):
    settings({"figure.facecolor": "black"})
    assert figure(tmp_path, style="user")[2, 2].tolist() == [0, 0, 0, 255]
    drawn = PacedSaturation(rgba_pixels, "user").of_epoch(SATURATION, (), 0)
    assert drawn[2, 2].tolist() == [0, 0, 0, 255]


def test_their_own_that_fail_are_named_once_and_nothing_is_raised(tmp_path, settings, caplog):
    settings(USETEX)
    assert figure(tmp_path, style="user") is None
    assert caplog.text.count("cannot be drawn") == 1
    assert "latex" in caplog.text
    paced = PacedSaturation(rgba_pixels, "user")
    assert paced.of_epoch(SATURATION, (), 0) is None
    assert caplog.text.count("cannot be drawn") == 2
    assert paced.of_last_epoch() is None


def test_functions_that_the_user_calls_draw_in_the_settings_in_force(tmp_path, settings):
    (tmp_path / "metrics.csv").write_text("epoch,train-saturation/a,train-saturation/b\n0,0.5,1\n")
    settings({"figure.facecolor": "black"})
    axes = plot_stat_level_from_results(tmp_path / "metrics.csv", -1, "lsat")
    assert mpl.colors.to_hex(axes.figure.get_facecolor()) == "#000000"
    assert rgba_pixels(saturation_figure(SATURATION))[2, 2].tolist() == [0, 0, 0, 255]


def test_text_is_measured_in_the_font_of_its_figure(settings):
    narrow = width_of("iiiiii", 10)
    settings({"font.family": ["monospace"]})
    wide = width_of("iiiiii", 10)
    assert wide > 1.5 * narrow
    with drawn_in("delve"):
        assert width_of("iiiiii", 10) == narrow
    assert width_of("iiiiii", 10) == wide


def test_what_is_set_meanwhile_stays(settings):
    settings(DARK)
    with drawn_in("delve"):
        assert mpl.rcParams["font.size"] == 10
        mpl.rcParams["font.size"] = 31  # by a function of the user's, or another thread
        mpl.rcParams["legend.fontsize"] = 7
    assert mpl.rcParams["font.size"] == 31
    assert mpl.rcParams["legend.fontsize"] == 7
    assert mpl.rcParams["figure.facecolor"] == "black"


def test_threads_that_draw_at_once_leave_the_users_settings(settings):
    settings(DARK)
    before, seen, go = raw(), [], threading.Barrier(4)

    def draw(style):
        go.wait(10)
        for _ in range(20):
            with drawn_in(style):
                seen.append((style, mpl.rcParams["figure.facecolor"]))

    threads = [
        threading.Thread(target=draw, args=[style]) for style in ("delve", "user", "delve", "user")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(seen) == {("delve", "white"), ("user", "black")}
    assert len(seen) == 80
    assert raw() == before


def test_nothing_is_touched_where_the_user_has_set_nothing(settings):
    with drawn_in("delve"):
        mpl.rcParams["figure.facecolor"] = "black"
    assert mpl.rcParams["figure.facecolor"] == "black"


@pytest.mark.parametrize("style", ["dark_background", "", None, ["delve"]])
def test_a_style_that_is_none_is_refused(tmp_path, style):
    with pytest.raises(ArgumentError, match="style must be 'delve', or 'user'"):
        PlotWriter(tmp_path, style=style)
