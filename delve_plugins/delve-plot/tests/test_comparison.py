"""One statistic of several runs in one figure."""

from delve_plot.comparison import comparison_figure
from plotted_runs import saturations, write_run

from delve.cli import Choice, layer_table, read_recorded

SATURATION = Choice("saturation")
TAIL = dict(zip("abcdef", (0.8, 0.9, 0.7, 0.1, 0.05, 0.9), strict=True))
FLAT = dict.fromkeys("abcdef", 0.5)


def run(folder, *rows):
    return read_recorded(write_run(folder, rows))


def lines_of(figure, panel=0):
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in figure.axes[panel].lines
    }


def compared(tmp_path, *rows):
    tables = [layer_table(run(tmp_path / str(n), row), SATURATION) for n, row in enumerate(rows)]
    return comparison_figure(tables, ["first", "_second", "third"][: len(rows)])


def test_runs_of_one_model_share_the_rows_of_their_layers(tmp_path):
    figure = compared(tmp_path, saturations(FLAT), saturations({k: FLAT[k] for k in "bcdef"}))
    lines = lines_of(figure)
    assert lines["first"][1] == [0, 1, 2, 3, 4, 5]
    assert lines[" _second"][1] == [1, 2, 3, 4, 5]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == list("abcdef")


def test_models_that_differ_are_compared_by_the_places_of_their_layers(tmp_path):
    figure = compared(tmp_path, saturations(FLAT), saturations({"a": 0.1, "y": 0.2, "z": 0.3}))
    assert lines_of(figure)[" _second"] == ([0.1, 0.2, 0.3], [0, 1, 2])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["1", "2", "3", "4", "5", "6"]


def test_the_tail_of_a_run_among_several_has_hollow_marks(tmp_path):
    figure = compared(tmp_path, saturations(TAIL), saturations(FLAT))
    hollow = [line for line in figure.axes[1].lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_ydata()) for line in hollow] == [[3, 4]]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["first", " _second"]
    assert legend[2].startswith("hollow: tail")


BROKEN = dict.fromkeys("abc", 0.8) | {"d": 0.1, "e": float("nan"), "f": 0.05, "g": 0.9}


def test_a_tail_layer_that_is_not_finite_leaves_the_marks_to_the_others(tmp_path):
    figure = compared(tmp_path, saturations(BROKEN), saturations(FLAT))
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in hollow] == [
        ([0.1, 0.05], [3, 5])
    ]


def determinants(**values):
    return {f"train-covariance-determinant/{layer}": value for layer, value in values.items()}


def test_what_has_no_place_on_a_logarithmic_axis_has_signs_at_its_edge(tmp_path):
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
