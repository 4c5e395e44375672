import io
import math

import matplotlib
import numpy as np
import pytest
from delve_plot.figures import rgba_pixels, saturation_figure, write_png
from delve_plot.heatmap import heatmap_figure
from delve_plot.scatter import scatter_figure
from PIL import Image

from delve.records import Metric

LAYERS = ("conv1", "layer1.0.conv1", "fc")


def metrics(layers=LAYERS, modes=("train",), stat="saturation"):
    return {
        Metric(mode, stat, layer): (1 + place) / (1 + len(layers))
        for mode in modes
        for place, layer in enumerate(layers)
    }


def render(figure):
    """The figure as an array of brightness; any warning while drawing is an error."""
    return rgba_pixels(figure, dpi=50)[..., :3].mean(axis=-1)


def above(figure, box):
    """The darkest pixel in the three points above an area."""
    pixels = render(figure)[::-1]
    top = round(box.y1)
    return pixels[top + 1 : top + 3, round(box.x0) + 2 : round(box.x1) - 2].min()


def legend_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def names_of(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def dots(axes):
    """The drawn points as {row: value}."""
    line = axes.lines[0]
    return {y: x for x, y in zip(*line.get_data(), strict=True) if not math.isnan(x)}


class TestLayers:
    def test_they_stand_in_forward_order_the_first_on_top(self):
        values = dict(reversed(metrics().items()))
        figure = saturation_figure(values, LAYERS)
        axes = figure.axes[0]
        assert names_of(axes) == list(LAYERS)
        assert dots(axes) == {0: 0.25, 1: 0.5, 2: 0.75}
        bottom, top = axes.get_ylim()
        assert bottom > top
        assert axes.get_xlim() == (0, 1)

    def test_training_and_evaluation_stand_side_by_side(self):
        values = metrics(modes=("train", "eval")) | {Metric("eval", "saturation", "fc"): 0.1}
        train, evaluation = saturation_figure(values, LAYERS, epoch=3).axes
        assert (train.get_title("left"), evaluation.get_title("left")) == ("train", "eval")
        assert dots(train)[2] == 0.75
        assert dots(evaluation)[2] == 0.1
        assert train.lines[0].get_marker() != evaluation.lines[0].get_marker()

    def test_other_statistics_are_passed_over(self):
        values = metrics() | metrics(("other",), stat="covariance-trace")
        assert names_of(saturation_figure(values, LAYERS).axes[0]) == list(LAYERS)

    def test_a_layer_without_a_value_leaves_a_gap_and_a_nan_a_cross(self):
        values = metrics(modes=("train", "eval"))
        del values[Metric("train", "saturation", "conv1")]
        values[Metric("train", "saturation", "fc")] = math.nan
        axes = saturation_figure(values, LAYERS).axes[0]
        assert dots(axes) == {1: 0.5}
        cross = axes.lines[1]
        assert (cross.get_marker(), list(cross.get_ydata())) == ("x", [2])

    def test_layers_whose_place_is_unknown_come_last(self):
        values = metrics(("new", "a", "b"))
        axes = saturation_figure(values, ("b", "gone", "a")).axes[0]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a", "new"]

    def test_eigenvalues_share_a_figure_on_a_logarithmic_axis(self):
        values = {
            Metric("train", f"spectrum-{k}", layer): 10.0**-k for k in (1, 2, 5) for layer in LAYERS
        }
        axes = saturation_figure(values, LAYERS, stat="spectrum").axes[0]
        assert axes.get_xscale() == "log"
        assert [line.get_xdata()[0] for line in axes.lines] == [0.1, 0.01, 1e-5]

    def test_a_determinant_of_zero_is_shown_at_the_edge(self):
        values = dict(zip(metrics(stat="covariance-determinant"), (0.0, 1e-30, 1.0), strict=True))
        axes = saturation_figure(values, LAYERS, stat="covariance-determinant").axes[0]
        assert axes.get_xscale() == "log"
        assert dots(axes) == {1: 1e-30, 2: 1.0}
        assert legend_of(axes.figure) == ["0"]


class TestPrimaryMetric:
    def test_it_is_a_dashed_line_with_its_value(self):
        axes = saturation_figure(metrics(), LAYERS, primary_metric=("accuracy", 0.875)).axes[0]
        line = axes.lines[-1]
        assert line.get_linestyle() == "--"
        assert list(line.get_xdata()) == [0.875, 0.875]
        assert legend_of(axes.figure) == ["accuracy = 0.875"]

    @pytest.mark.parametrize("value", [91.2, -1.0, math.nan])
    def test_off_the_axis_it_is_named_alone(self, value):
        axes = saturation_figure(metrics(), LAYERS, primary_metric=("accuracy", value)).axes[0]
        assert len(axes.lines) == 1
        assert legend_of(axes.figure) == [f"accuracy = {value:.4g}"]

    @pytest.mark.parametrize("stat", ["spectrum-1", "intrinsic-dimensionality"])
    def test_beside_what_it_cannot_be_compared_with_it_is_named_alone(self, stat):
        values = metrics(stat=stat, modes=("train", "eval"))
        figure = saturation_figure(
            values, LAYERS, stat=stat.removesuffix("-1"), primary_metric=("accuracy", 0.5)
        )
        assert [len(axes.lines) for axes in figure.axes] == [1, 1]
        assert legend_of(figure) == ["accuracy = 0.5"]


class TestNames:
    @pytest.mark.parametrize("name", ["a$b$", "$\\frac{", "a_b^c", "%s", "two\nlines"])
    def test_names_are_not_read_as_formulas(self, name):
        figure = saturation_figure(
            metrics((f"{name}.x", f"{name}.y")), primary_metric=(f"{name}", 0.5)
        )
        render(figure)


class TestRendering:
    def test_pixels_and_figure_are_what_matplotlib_saves(self):
        saved, written = io.BytesIO(), io.BytesIO()
        saturation_figure(metrics(), LAYERS).savefig(saved, format="png", dpi=50)
        write_png(saturation_figure(metrics(), LAYERS), written, dpi=50)
        pixels = rgba_pixels(saturation_figure(metrics(), LAYERS), dpi=50)
        assert pixels.dtype == np.uint8
        for file in (saved, written):
            with Image.open(file) as image:
                np.testing.assert_array_equal(np.asarray(image), pixels)

    def test_signs_that_the_font_lacks_are_boxes_and_no_warnings(self):
        values = metrics(("\N{ROCKET}.a", "\N{ROCKET}.b"))
        assert render(saturation_figure(values)).min() < 100
        write_png(saturation_figure(values), io.BytesIO())


class TestSizes:
    @pytest.mark.parametrize(
        ("count", "modes"),
        [(0, ("train",)), (1, ("eval",)), (5, ("train", "eval")), (200, ("train", "eval"))],
    )
    def test_any_number_of_layers_can_be_drawn(self, count, modes):
        layers = [f"backbone.stage{i // 10}.block{i % 10}.conv" for i in range(count)]
        figure = saturation_figure(metrics(layers, modes), layers)
        brightness = render(figure)
        assert brightness.min() < 100 or count == 0
        assert figure.get_size_inches()[1] <= 40

    def test_thousands_of_layers_fit_on_the_highest_page(self):
        layers = [f"block{i}" for i in range(3000)]
        figure = saturation_figure(metrics(layers), layers)
        assert figure.get_size_inches()[1] == 40
        assert len(dots(figure.axes[0])) == 3000
        assert len(names_of(figure.axes[0])) < 1000

    def test_each_of_200_layers_has_its_name_in_readable_size(self):
        layers = [f"block{i}" for i in range(200)]
        axes = saturation_figure(metrics(layers), layers).axes[0]
        assert len(names_of(axes)) == 200
        assert axes.get_yticklabels()[0].get_fontsize() == 8
        assert axes.figure.get_size_inches()[1] / 200 > 0.16

    def test_in_a_given_size_names_shrink_and_then_thin_out(self):
        layers = [f"block{i}" for i in range(200)]
        axes = saturation_figure(metrics(layers), layers, figsize=(10, 10)).axes[0]
        assert tuple(axes.figure.get_size_inches()) == (10, 10)
        assert 1 < 200 / len(names_of(axes)) < 5
        assert axes.get_yticklabels()[0].get_fontsize() >= 5
        assert "named" in axes.get_ylabel()


class TestHeatmap:
    def test_cells_stand_at_their_epochs_and_missing_ones_are_masked(self):
        values = np.array([[0.1, 0.2, 0.3], [0.4, math.nan, 0.6]])
        axes = heatmap_figure(values, [2, 3, 6], ["a", "b"], mode="train").axes[0]
        image = axes.images[0]
        assert list(image.get_extent()) == [1.5, 6.5, 1.5, -0.5]
        np.testing.assert_array_equal(
            image.get_array().filled(-1),
            [[0.1, 0.2, -1, -1, 0.3], [0.4, -1, -1, -1, 0.6]],
        )
        assert image.get_clim() == (0, 1)
        assert names_of(axes) == ["a", "b"]

    def test_only_whole_epochs_are_numbered(self):
        for epochs in ([7], [0, 1], range(1000)):
            values = np.full((2, len(epochs)), 0.5)
            figure = heatmap_figure(values, list(epochs), ["a", "b"], mode="eval")
            render(figure)
            ticks = figure.axes[0].get_xticks()
            assert all(tick == round(tick) for tick in ticks)

    def test_missing_values_are_explained_where_there_are_any(self):
        def legend(values):
            return legend_of(heatmap_figure(values, [0, 1], ["a"], mode="eval"))

        assert legend(np.array([[0.1, 0.2]])) == []
        assert legend(np.array([[0.1, math.nan]])) == ["no value"]

    def test_an_epoch_missing_among_thousands_has_a_mark_and_is_counted(self):
        epochs = [epoch for epoch in range(3000) if epoch != 1234]
        figure = heatmap_figure(np.full((2, 2999), 0.5), epochs, ["a", "b"], mode="eval")
        whole = heatmap_figure(np.full((2, 3000), 0.5), range(3000), ["a", "b"], mode="eval")
        (marks,) = figure.axes[0].lines
        assert list(marks.get_xdata()) == [1234]
        assert legend_of(figure) == ["values missing in 1 of 3000 epochs"]
        assert not legend_of(whole)
        render(whole)
        box = whole.axes[0].get_window_extent()
        assert above(figure, box) < above(whole, box) - 5  # the mark is to be seen

    def test_values_of_every_tenth_epoch_are_seen_among_thousands(self):
        epochs = list(range(0, 5000, 10))
        axes = heatmap_figure(np.full((2, 500), 0.5), epochs, ["a", "b"], mode="eval").axes[0]
        assert not np.ma.getmaskarray(axes.images[0].get_array()).any()
        assert axes.get_xlim() == (-0.5, 4990.5)
        assert "mean of 13" in axes.get_xlabel()

    def test_a_zero_on_a_logarithmic_scale_has_a_colour_of_its_own_and_is_explained(self):
        values = np.array([[0.0, 1e-30, 1.0], [1e-30, math.nan, 1.0]])
        options = {"mode": "train", "stat": "covariance-determinant"}
        figure = heatmap_figure(values, [0, 1, 2], ["a", "b"], **options)
        image = figure.axes[0].images[0]
        zero, small, *_ = image.to_rgba(image.get_array())[0].tolist()
        assert zero == [1, 1, 1, 1]
        assert small == list(matplotlib.colormaps["viridis"](0))
        assert legend_of(figure) == ["0", "no value"]
        linear = heatmap_figure(np.array([[0.0, 2.0]]), [0, 1], ["a"], **options)
        assert legend_of(linear) == []

    def test_nothing_but_missing_values_can_be_drawn(self):
        render(heatmap_figure(np.full((2, 2), math.nan), [0, 1], ["a", "b"], mode="train"))


class TestScatter:
    @pytest.mark.parametrize("count", [1, 5, 50])
    def test_each_layer_has_a_panel(self, count):
        samples = {f"layer{i}": np.random.default_rng(i).normal(size=(9, 2)) for i in range(count)}
        figure = scatter_figure(samples, epoch=3)
        shown = [axes for axes in figure.axes if axes.get_visible()]
        assert [axes.get_title() for axes in shown] == list(samples)
        np.testing.assert_array_equal(
            np.array(shown[-1].lines[0].get_data()).T, samples[f"layer{count - 1}"]
        )
        render(figure)

    @pytest.mark.parametrize("points", [np.zeros((0, 2)), np.full((3, 2), math.nan)])
    def test_a_layer_without_points_has_an_empty_panel(self, points):
        figure = scatter_figure({"a": points, "b": np.ones((1, 2))})
        render(figure)
        empty = figure.axes[0]
        (text,) = empty.texts
        assert text.get_text() == ("not finite" if len(points) else "no samples")
        assert (len(empty.get_xticks()), len(empty.get_yticks())) == (0, 0)

    @pytest.mark.parametrize(
        ("scale", "unit"), [(1e-12, ["1e-12"]), (1e-6, ["1e-6"]), (1.0, []), (1e5, ["1e5"])]
    )
    def test_short_numbers_are_in_units_that_are_told_inside_the_panel(self, scale, unit):
        points = scale * np.array([[1.0, 2.0], [-2.0, 1.5], [1.5, -2.0]])
        axes = scatter_figure({"a": points, "b": points}, fontsize=15).axes[0]
        render(axes.figure)
        labels = [*axes.get_xticklabels(), *axes.get_yticklabels()]
        assert max(len(label.get_text()) for label in labels) <= 4
        assert [axis.get_offset_text().get_text() for axis in (axes.xaxis, axes.yaxis)] == [""] * 2
        assert [text.get_text() for text in axes.texts] == unit
        panel = axes.get_window_extent()
        for text in axes.texts:
            box = text.get_window_extent()
            assert text.get_fontsize() == labels[0].get_fontsize() == 9
            assert panel.x0 < box.x0 < box.x1 < panel.x1
            assert panel.y0 < box.y0 < box.y1 < panel.y1

    def test_samples_that_are_all_zero_have_no_invented_scale(self):
        axes = scatter_figure({"a": np.zeros((3, 2)), "b": np.ones((1, 2))}).axes[0]
        render(axes.figure)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0"]
        assert axes.get_xlim() == axes.get_ylim() == (-1, 1)


def test_pyplot_is_neither_needed_nor_touched():
    import subprocess
    import sys

    code = """if True:
        import sys
        import delve_plot
        assert "matplotlib" not in sys.modules and "pandas" not in sys.modules
        from delve.records import Metric
        from delve_plot.figures import rgba_pixels, saturation_figure
        rgba_pixels(saturation_figure({Metric("train", "saturation", "a"): 0.5}, ["a"]))
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_two_modes_differ_in_grey():
    from delve_plot.style import COLOURS, MARKERS

    assert len(set(MARKERS.values())) == 2
    colours = np.array([matplotlib.colors.to_rgb(colour) for colour in COLOURS.values()])
    assert (colours.mean(axis=1) < 0.7).all()  # dark enough on white


class TestSteps:
    """Rows that carry training steps are named by these."""

    @pytest.mark.parametrize(
        ("step", "told"), [(None, "epoch 3"), (0, "step 0"), (700, "step 700")]
    )
    def test_the_title_of_one_row_tells_its_step(self, step, told):
        figure = saturation_figure(metrics(), LAYERS, epoch=3, step=step)
        assert figure.get_suptitle() == f"Saturation, train, {told}"
        samples = {layer: np.eye(2) for layer in LAYERS}
        scatter = scatter_figure(samples, epoch=3, step=step)
        assert scatter.get_suptitle().endswith(f"train, {told}")

    def test_the_axis_of_all_rows_shows_steps_where_their_columns_stand(self):
        steps = {0: 100, 1: 250, 3: 1000}
        values = np.arange(9).reshape(3, 3) / 9
        figure = heatmap_figure(values, list(steps), LAYERS, mode="train", steps=steps)
        render(figure)
        axes = figure.axes[0]
        assert axes.get_xlabel() == "step"
        shown = {
            round(label.get_position()[0]): label.get_text() for label in axes.get_xticklabels()
        }
        assert {epoch: shown[epoch] for epoch in range(4)} == {0: "100", 1: "250", 2: "", 3: "1000"}
        assert (
            heatmap_figure(values, [0, 1, 3], LAYERS, mode="train").axes[0].get_xlabel() == "epoch"
        )
