"""That what is drawn has its place in the figure."""

import itertools
import math

import numpy as np
import pytest
from delve_plot.figures import rgba_pixels, saturation_figure
from delve_plot.heatmap import heatmap_figure
from delve_plot.scatter import scatter_figure

from delve.records import Metric

DEEP = "model.backbone_network.encoder.transformer_blocks.layers"
LONG_METRIC = "validation/accuracy_of_the_exponential_moving_average_model"
ENDS = ("attention.self.query", "intermediate.intermediate_activation_projection")


def names(count):
    return [f"{DEEP}.{i // 2}.{ENDS[i % 2]}" for i in range(count)]


def spectra(layers, modes=("train",)):
    values = {
        Metric(mode, f"spectrum-{k}", layer): 10.0**-k
        for mode, layer, k in itertools.product(modes, layers, range(1, 6))
    }
    return values | {Metric("train", "spectrum-1", layers[0]): math.nan}


def samples(layers):
    points = np.random.default_rng(0).normal(size=(20, 2))
    return dict.fromkeys(layers, points)


def drawn(figure):
    rgba_pixels(figure)
    return figure


def title_of(figure):
    return next(text for text in figure.texts if text.get_text() == figure.get_suptitle())


def inside(figure, artist):
    box, page = artist.get_window_extent(), figure.bbox
    return page.x0 <= box.x0 and page.y0 <= box.y0 and box.x1 <= page.x1 and box.y1 <= page.y1


def tight_boxes(figure):
    return [axes.get_tightbbox() for axes in figure.axes if axes.get_visible()]


def overlap(box, other):
    """Whether two areas share more than a pixel's breadth."""
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    return width > 1 and height > 1


class TestTitle:
    @pytest.mark.parametrize(
        ("figsize", "fontsize"), [(None, 10), (None, 16), ((10, 10), 16), ((3, 3), 10)]
    )
    def test_it_lies_inside_the_figure(self, figsize, fontsize):
        layers = [f"{DEEP}.{end}" for end in "abc"]
        values = {Metric("train", "saturation", layer): 0.5 for layer in layers}
        options = {"figsize": figsize, "fontsize": fontsize}
        for figure in (
            saturation_figure(values, layers, epoch=1234, **options),
            heatmap_figure(np.full((3, 2), 0.5), [0, 1], layers, mode="train", **options),
            scatter_figure(samples(layers), epoch=1234, **options),
        ):
            assert inside(drawn(figure), title_of(figure))
            assert "transformer_blocks.layers" in figure.get_suptitle().replace("\n", "")


class TestLegend:
    @pytest.mark.parametrize("modes", [("train",), ("train", "eval")])
    @pytest.mark.parametrize(
        ("figsize", "fontsize"), [(None, 10), (None, 16), ((10, 10), 16), ((5, 4), 10)]
    )
    def test_it_lies_inside_the_figure_and_leaves_the_panels_their_width(
        self, modes, figsize, fontsize
    ):
        layers = ["conv1", "conv2", "fc"]
        figure = saturation_figure(
            spectra(layers, modes),
            layers,
            stat="spectrum",
            primary_metric=(LONG_METRIC, 0.775),
            fontsize=fontsize,
            figsize=figsize,
        )
        (legend,) = drawn(figure).legends
        texts = sorted(" ".join(text.get_text().split("\n")) for text in legend.get_texts())
        assert texts[:2] == ["2nd and smaller", "not a finite number"]
        assert texts[2].replace(" ", "") == f"{LONG_METRIC}=0.775"
        assert inside(figure, legend)
        assert not overlap(legend.get_window_extent(), title_of(figure).get_window_extent())
        assert not any(overlap(legend.get_window_extent(), box) for box in tight_boxes(figure))
        assert sum(axes.get_position().width for axes in figure.axes) > 0.6

    def test_a_heatmaps_legend_lies_inside_a_narrow_figure(self):
        values = np.full((3, 3000), 0.5)
        values[:, 1000:2000] = math.nan
        figure = heatmap_figure(values, range(3000), list("abc"), mode="eval", figsize=(3, 3))
        (legend,) = drawn(figure).legends
        assert len(legend.get_texts()) == 2
        assert inside(figure, legend)


class TestScatter:
    @pytest.mark.parametrize(
        ("count", "figsize", "fontsize"),
        [
            (5, None, 10),
            (5, None, 16),
            (60, None, 10),
            (60, (10, 10), 16),
            (200, None, 10),
        ],
    )
    def test_titles_names_and_panels_keep_apart(self, count, figsize, fontsize):
        layers = names(count)
        figure = drawn(scatter_figure(samples(layers), figsize=figsize, fontsize=fontsize))
        boxes = tight_boxes(figure)
        for text in figure.texts:  # title, and labels of both axes
            assert inside(figure, text)
            assert not any(overlap(text.get_window_extent(), box) for box in boxes)
        for axes, box in zip(figure.axes, boxes, strict=False):
            assert inside(figure, axes.title)
            assert not any(overlap(box, other) for other in boxes if other is not box)

    @pytest.mark.parametrize("scale", [1e-6, 1e7])
    @pytest.mark.parametrize("fontsize", [10, 16])
    def test_panels_keep_apart_whatever_the_size_of_the_activations(self, scale, fontsize):
        layers = [f"conv{n}" for n in range(9)]
        points = {layer: scale * points for layer, points in samples(layers).items()}
        boxes = tight_boxes(drawn(scatter_figure(points, fontsize=fontsize)))
        for box, other in itertools.combinations(boxes, 2):
            assert not overlap(box, other)

    def test_names_break_between_modules(self):
        axes = scatter_figure(samples(["stem", "intermediate.projections.activation"])).axes[1]
        *lines, last = axes.get_title().split("\n")
        assert lines
        assert all(line.endswith(".") for line in lines)
        assert last.endswith("activation")

    def test_where_there_is_no_room_for_names_they_are_left_out(self):
        figure = drawn(scatter_figure(samples(names(60)), figsize=(2, 2)))
        assert {axes.get_title() for axes in figure.axes} == {""}
        assert len([axes for axes in figure.axes if axes.get_visible()]) == 60
