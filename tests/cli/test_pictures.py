import re
import sys

import pytest
from support.journals import saturations, write_run

from delve.cli.choice import Choice
from delve.cli.pictures import draw_comparison, draw_run
from delve.cli.report import layer_table
from delve.errors import ArgumentError, WriterNotFoundError
from delve.journal.stored_run import read_run

SATURATION = Choice("saturation")
TAIL = dict(zip("abcdef", (0.8, 0.9, 0.7, 0.1, 0.05, 0.9), strict=True))
FLAT = dict.fromkeys("abcdef", 0.5)


def run(folder, *rows):
    return read_run(write_run(folder, rows))


def size(path):
    """Width and height of a PNG file in pixels, from its header."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(header[16:20]), int.from_bytes(header[20:24])


def without_digest(path):
    """A file's name without the letters that tell its runs from others of the same name."""
    name, digests = re.subn(r"-[0-9a-f]{6}(?=-)", "", path.name)
    assert digests == 1
    return name


def test_without_the_plot_plugin_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "delve_plot", None)
    recorded = run(tmp_path, saturations(FLAT))
    for draw in (
        lambda: list(draw_run(recorded, "a", [SATURATION], tmp_path)),
        lambda: draw_comparison([recorded] * 2, ["a", "b"], SATURATION, tmp_path),
    ):
        with pytest.raises(WriterNotFoundError, match=r"pip install \./delve_plugins/delve-plot"):
            draw()


def test_a_run_is_drawn_at_one_epoch_and_over_all(tmp_path):
    pytest.importorskip("delve_plot")
    recorded = run(tmp_path, saturations(TAIL), {"rare": 1.0}, saturations({"a": 0.5}))
    drawn = list(draw_run(recorded, "a/run", [SATURATION], tmp_path / "new" / "folder", 0))
    assert [without_digest(path) for path in drawn] == [
        "a-run-saturation.png",
        "a-run-train-saturation-heatmap.png",
        "a-run-eval-saturation-heatmap.png",
    ]
    assert all(min(size(path)) > 200 for path in drawn)


def test_runs_of_one_name_have_files_of_their_own_and_a_run_always_the_same(tmp_path):
    pytest.importorskip("delve_plot")
    runs = [run(tmp_path / name / "r18", saturations(FLAT)) for name in ("a", "b")]
    first, second, again = (
        set(draw_run(one, "r18", [SATURATION], tmp_path / "same")) for one in (*runs, runs[0])
    )
    assert not first & second
    assert first == again
    pairs = [
        draw_comparison([*runs, *more], ["r18"] * (2 + len(more)), SATURATION, tmp_path)
        for more in ([], runs)
    ]
    assert pairs[0] != pairs[1]


@pytest.mark.parametrize("name", ["r18", "a-very-long-name-of-a-run-" * 4])
def test_the_title_names_the_run(tmp_path, name):
    pytest.importorskip("delve_plot")
    from delve_plot.figures import saturation_figure

    from delve.cli import pictures

    figure = saturation_figure({}, epoch=3)
    lines = len(figure.get_suptitle().split("\n"))
    pictures._named(figure, name)
    begun, _, title = figure.get_suptitle().partition(": ")
    assert title == "Saturation, train, epoch 3"
    assert begun == name or (begun and begun.split("…")[-1] in name)
    assert len(figure.get_suptitle().split("\n")) == lines
    figure.draw_without_rendering()
    extent = next(t for t in figure.texts if t.get_text() == figure.get_suptitle())
    assert extent.get_window_extent().width <= figure.bbox.width


def test_the_eigenvalues_share_a_picture(tmp_path):
    pytest.importorskip("delve_plot")
    row = {
        f"{mode}-spectrum-{n}/{layer}": 10.0**-n
        for mode in ("train", "eval")
        for layer in "ab"
        for n in range(1, 6)
    }
    recorded = run(tmp_path, row, row)
    choices = [Choice(f"spectrum-{n}") for n in range(1, 6)]
    drawn = [without_digest(path) for path in draw_run(recorded, "a", choices, tmp_path)]
    assert drawn == [
        "a-spectrum.png",
        "a-train-spectrum-heatmap.png",
        "a-eval-spectrum-heatmap.png",
    ]


def test_the_tail_lies_on_a_coloured_ground_and_is_explained(tmp_path):
    pytest.importorskip("delve_plot")
    from delve_plot.figures import saturation_figure

    from delve.cli import pictures

    table = layer_table(run(tmp_path, saturations(TAIL)), SATURATION)
    figure = saturation_figure(pictures._metrics([table]), table.layers)
    pictures._mark_tail(figure, table)
    for axes in figure.axes:
        (span,) = axes.patches
        low, high = span.get_y(), span.get_y() + span.get_height()  # type: ignore[attr-defined]
        assert [layer for place, layer in enumerate(table.layers) if low < place < high] == [
            "d",
            "e",
        ]
    assert "2006.08679" in figure.get_supxlabel()


def lines_of(figure, panel=0):
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in figure.axes[panel].lines
    }


def compared(tmp_path, *rows):
    from delve.cli.comparison import comparison_figure

    tables = [layer_table(run(tmp_path / str(n), row), SATURATION) for n, row in enumerate(rows)]
    return comparison_figure(tables, ["first", "_second", "third"][: len(rows)])


def test_runs_of_one_model_share_the_rows_of_their_layers(tmp_path):
    pytest.importorskip("delve_plot")
    figure = compared(tmp_path, saturations(FLAT), saturations({k: FLAT[k] for k in "bcdef"}))
    lines = lines_of(figure)
    assert lines["first"][1] == [0, 1, 2, 3, 4, 5]
    assert lines[" _second"][1] == [1, 2, 3, 4, 5]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == list("abcdef")


def test_models_that_differ_are_compared_by_the_places_of_their_layers(tmp_path):
    pytest.importorskip("delve_plot")
    figure = compared(tmp_path, saturations(FLAT), saturations({"a": 0.1, "y": 0.2, "z": 0.3}))
    assert lines_of(figure)[" _second"] == ([0.1, 0.2, 0.3], [0, 1, 2])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["1", "2", "3", "4", "5", "6"]


def test_the_tail_of_a_run_among_several_has_hollow_marks(tmp_path):
    pytest.importorskip("delve_plot")
    figure = compared(tmp_path, saturations(TAIL), saturations(FLAT))
    hollow = [line for line in figure.axes[1].lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_ydata()) for line in hollow] == [[3, 4]]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["first", " _second"]
    assert legend[2].startswith("hollow: tail")


def test_a_tail_layer_that_is_not_finite_leaves_the_marks_to_the_others(tmp_path):
    pytest.importorskip("delve_plot")
    low = {"d": 0.1, "e": 0.1, "f": 0.05, "g": 0.9}
    broken = dict.fromkeys("abc", 0.8) | low | {"e": float("nan")}
    figure = compared(tmp_path, saturations(broken), saturations(FLAT))
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in hollow] == [
        ([0.1, 0.05], [3, 5])
    ]
    from delve_plot.figures import saturation_figure

    from delve.cli import pictures

    table = layer_table(run(tmp_path / "alone", saturations(broken)), SATURATION)
    alone = saturation_figure(pictures._metrics([table]), table.layers)
    pictures._mark_tail(alone, table)
    grounds = [(p.get_y(), p.get_y() + p.get_height()) for p in alone.axes[0].patches]  # type: ignore[attr-defined]
    assert grounds == [(2.5, 3.5), (4.5, 5.5)]


def determinants(**values):
    return {f"train-covariance-determinant/{layer}": value for layer, value in values.items()}


def test_what_has_no_place_on_a_logarithmic_axis_has_signs_at_its_edge(tmp_path):
    pytest.importorskip("delve_plot")
    from delve.cli.comparison import comparison_figure

    nan = float("nan")
    rows = [determinants(a=1.0, b=1e-9, c=0.0), determinants(a=nan, b=1e-3, c=0.0)]
    tables = [
        layer_table(run(tmp_path / str(n), row), Choice("covariance-determinant"))
        for n, row in enumerate(rows)
    ]
    figure = comparison_figure(tables, ["first", "second"])
    axes = figure.axes[0]
    left, _ = axes.get_xlim()
    drawn = [
        (line.get_marker(), line.get_xdata().tolist(), line.get_ydata().tolist())
        for line in axes.lines
        if line.get_linestyle() == "None"
    ]
    assert drawn == [("<", [left], [2]), ("x", [left], [0]), ("<", [left], [2])]
    assert lines_of(figure)["first"][0][:2] == [1.0, 1e-9]
    assert all(not 0 <= value < left for line in axes.lines for value in line.get_xdata())
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["first", "second", "0", "not a finite number"]
    figure.draw_without_rendering()  # warns where the layout collapses
    assert axes.get_position().width > 0.5
    zeros = [line for line in axes.lines if line.get_marker() == "<"]
    first, second = (line.get_transform().transform((left, 2))[0] for line in zeros)
    assert second > first + 3  # beside each other


@pytest.mark.parametrize("second", [{"x": 0.5}, FLAT, {"a": float("nan")}])
def test_any_runs_can_be_drawn_together(tmp_path, second):
    pytest.importorskip("delve_plot")
    recorded = [
        run(tmp_path / "1", saturations(TAIL)),
        run(tmp_path / "2", saturations(second, modes=["train"])),
    ]
    path = draw_comparison(recorded, ["$1", "b" * 90], SATURATION, tmp_path)
    assert path.name.endswith("-saturation.png")
    assert min(size(path)) > 200


def test_a_run_that_lacks_the_statistic_is_named(tmp_path):
    pytest.importorskip("delve_plot")
    recorded = run(tmp_path, saturations(FLAT))
    with pytest.raises(ArgumentError, match="holds no stable-rank of any epoch"):
        draw_comparison([recorded] * 2, ["a", "b"], Choice("stable-rank"), tmp_path)


def test_the_users_matplotlib_settings_change_no_picture(tmp_path, monkeypatch):
    pytest.importorskip("delve_plot")
    import matplotlib as mpl

    def drawn(name):
        folder = tmp_path / name
        draw_comparison([recorded] * 2, ["a", "b"], SATURATION, folder)
        list(draw_run(recorded, "a", [SATURATION], folder))
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    recorded = run(tmp_path, saturations(TAIL))
    plain = drawn("plain")
    monkeypatch.setenv("PATH", "")  # without LaTeX, if the machine has it
    theirs = {"text.usetex": True, "figure.facecolor": "black", "font.size": 31.0}
    with mpl.rc_context(theirs):
        assert drawn("changed") == plain
        assert all(mpl.rcParams[key] == value for key, value in theirs.items())
    assert len(plain) == 4
