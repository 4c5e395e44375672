"""Figures of eight, twelve and forty runs: everything has its place, and its number."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from delve_plot.comparison import comparison_figure
from delve_plot.figures import rgba_pixels
from matplotlib.colors import to_rgb
from test_layout import inside, overlap, tight_boxes, title_of

from delve.cli import Cell, LayerTable

TYPES = ("attn.q", "attn.k", "attn.v", "attn.out", "mlp.fc1", "mlp.fc2")
FEW = ("conv1", "conv2", "fc")
DEEP = ("embed", *(f"enc.blocks.{b}.{t}" for b in range(10) for t in TYPES), "head")
RATES = (0.3, 0.1, 0.06, 0.03, 0.01, 0.006, 0.003, 0.001, 0.0006, 0.0003)


def value(run, layer, mode):
    return (1 + run + 40 * layer + 2480 * (mode == "eval")) / 5000


def table_of(run, layers):
    cells = {
        mode: {layer: Cell(value(run, n, mode), math.nan) for n, layer in enumerate(layers)}
        for mode in ("train", "eval")
    }
    return LayerTable("saturation", 1, tuple(layers), cells)


def sweep(count):
    """Four widths, and as many rates as make so many runs."""
    pairs = itertools.product((16, 32, 64, 128), RATES[: count // 4])
    return [{"width": str(width), "lr": str(rate)} for width, rate in pairs]


def compared(count, layers, *, varied=True, **options):
    tables = [table_of(run, layers) for run in range(count)]
    names = [f"run{n}" for n in range(count)]
    configs = sweep(count) if varied else [{}] * count
    return comparison_figure(tables, names, configs, **options)


def panels_of(figure):
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_lines()]


def curves(axes):
    """The lines of a panel by their runs' names; those of the other mode and signs come after."""
    found = {}
    for line in axes.get_lines():
        found.setdefault(line.get_label(), line)
    return {name: line for name, line in found.items() if name.startswith("run")}


@pytest.fixture(
    scope="module",
    params=[(8, FEW, True), (12, FEW, False), (40, FEW, True), (12, DEEP, True), (12, DEEP, False)],
    ids=lambda given: f"{given[0]} x {len(given[1])}{' varied' * given[2]}",
)
def drawn(request):
    count, layers, varied = request.param
    figure = compared(count, layers, varied=varied, subtitle="the runs of this test")
    rgba_pixels(figure)
    return figure


def test_legend_title_and_labels_lie_inside_and_beside_the_panels(drawn):
    boxes = tight_boxes(drawn)
    texts = [title_of(drawn), *drawn.legends]
    for artist in [*drawn.texts, *drawn.legends]:
        assert inside(drawn, artist)
    for one, other in itertools.combinations(texts, 2):
        assert not overlap(one.get_window_extent(), other.get_window_extent())
    for legend in drawn.legends:
        assert not any(overlap(legend.get_window_extent(), box) for box in boxes)


def test_no_panel_lies_over_another_nor_beyond_the_edge(drawn):
    boxes = tight_boxes(drawn)
    assert not any(overlap(one, other) for one, other in itertools.combinations(boxes, 2))
    page = drawn.bbox
    assert all(box.x0 >= -1 and box.y0 >= -1 for box in boxes)
    assert all(box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1 for box in boxes)


def test_panels_are_large_enough_to_read(drawn):
    dpi = drawn.dpi
    for axes in panels_of(drawn):
        box = axes.get_window_extent()
        assert box.width / dpi >= 1.0
        assert box.height / dpi >= 0.7


def test_each_value_stands_where_it_belongs_in_panels_of_a_hyperparameter():
    figure = compared(12, FEW)
    panels = {axes.get_title(loc="left"): axes for axes in panels_of(figure)}
    assert list(panels) == [f"lr = {r}, {m}" for m in ("train", "eval") for r in (0.06, 0.1, 0.3)]
    for (rate, mode), n in itertools.product(
        itertools.product((0.06, 0.1, 0.3), ("train", "eval")), range(12)
    ):
        held = curves(panels[f"lr = {rate}, {mode}"])
        belongs = sweep(12)[n]["lr"] == str(rate)
        assert (f"run{n}" in held) == belongs
        if belongs:
            assert held[f"run{n}"].get_xdata().tolist() == [value(n, k, mode) for k in range(3)]
            assert held[f"run{n}"].get_ydata().tolist() == [0, 1, 2]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        f"width = {width}" for width in (16, 32, 64, 128)
    ]


def test_colours_rise_in_brightness_with_the_number_they_stand_for():
    figure = compared(40, FEW)
    held = curves(panels_of(figure)[0])
    assert len(held) == 10
    weights = np.array([0.2126, 0.7152, 0.0722])
    rates = {name: float(sweep(40)[int(name[3:])]["lr"]) for name in held}
    rising = sorted(held, key=rates.__getitem__)
    brightness = [weights @ to_rgb(held[name].get_color()) for name in rising]
    assert np.all(np.diff(brightness) > 0.02)
    bar = figure.axes[-1]
    assert [t.get_text() for t in bar.get_yticklabels()] == [f"{r:g}" for r in sorted(RATES)]
    assert bar.get_ylabel() == "lr"
    assert not figure.legends


def test_runs_that_differ_in_nothing_have_a_panel_each_before_the_range_of_all():
    figure = compared(12, FEW, varied=False)
    panels = panels_of(figure)
    assert [axes.get_title(loc="left") for axes in panels] == [f"run{n}" for n in range(12)]
    assert len({axes.get_window_extent().y0 for axes in panels}) * 4 == 12, "full lines"
    for n, axes in enumerate(panels):
        train, evaluation = axes.get_lines()
        assert train.get_xdata().tolist() == [value(n, k, "train") for k in range(3)]
        assert evaluation.get_xdata().tolist() == [value(n, k, "eval") for k in range(3)]
        outline = axes.collections[0].get_paths()[0].vertices
        first = outline[np.isclose(outline[:, 1], 0)][:, 0]
        assert (first.min(), first.max()) == (value(0, 0, "train"), value(11, 0, "train"))


def test_types_of_layers_have_panels_over_the_depth():
    figure = compared(2, DEEP, varied=False)
    panels = panels_of(figure)
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == [*TYPES, "other layers"]
    assert figure.get_suptitle().endswith("layers in enc.blocks.*")
    for place, (axes, layer_type) in enumerate(zip(panels, TYPES, strict=False)):
        by_name = [line for line in axes.get_lines() if line.get_label() == "run1"]
        assert [line.get_linestyle() for line in by_name] == [":", "-"], "training is dotted"
        for line, mode in zip(by_name, ("train", "eval"), strict=True):
            expected = [value(1, 1 + 6 * block + place, mode) for block in range(10)]
            assert line.get_ydata().tolist() == expected, layer_type
            assert line.get_xdata().tolist() == list(range(10))
    others = panels[-1]
    assert [t.get_text() for t in others.get_xticklabels()] == ["embed", "head"]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["run0", "run1", "train", "eval"]


def test_types_are_lines_of_panels_where_a_hyperparameter_has_columns():
    figure = compared(8, DEEP, by="width")
    panels = panels_of(figure)
    assert len(panels) == (len(TYPES) + 1) * 4
    assert [axes.get_title(loc="left") for axes in panels[:4]] == [
        f"width = {width}" for width in (16, 32, 64, 128)
    ]
    assert [axes.get_ylabel() for axes in panels[::4]] == [*TYPES, "other layers"]
    assert curves(panels[5])["run3"].get_ydata().tolist() == [
        value(3, 1 + 6 * block + 1, "train") for block in range(10)
    ]


def test_rows_stand_by_type_where_each_run_has_a_panel():
    figure = compared(8, DEEP, varied=False)
    axes = panels_of(figure)[2]
    line = axes.get_lines()[0]
    rows = dict(zip(line.get_ydata(), line.get_xdata(), strict=True))
    assert [rows[n] for n in range(10)] == [value(2, 1 + 6 * b, "train") for b in range(10)]
    assert math.isnan(rows[9.5]), "a gap between queries and keys"
    labels = [label.get_text() for label in panels_of(figure)[0].get_yticklabels()]
    assert labels == [*TYPES, "other layers"]


def test_the_figure_grows_with_what_is_drawn():
    def size(*given, **options):
        return compared(*given, **options).get_size_inches()

    few, deep = size(2, FEW, by="layer"), size(2, DEEP, by="layer")
    assert deep[1] > few[1] + 50 / 6, "a sixth of an inch for each layer"
    assert deep[0] > few[0] > 5
    twelve, forty = size(12, FEW, varied=False), size(40, FEW, varied=False)
    assert min(forty / twelve) > 1.4
    assert size(7, FEW)[1] > size(1, FEW)[1] - 1e-6


def test_a_hyperparameter_with_many_values_has_its_panels_in_even_lines():
    panels = panels_of(compared(40, FEW, by="lr"))
    tops = [round(axes.get_position().y1, 3) for axes in panels]
    assert [len(list(line)) for _, line in itertools.groupby(tops)] == [5, 5, 5, 5]


def test_runs_of_different_depths_share_the_types_of_their_layers():
    deep = [layer for layer in DEEP if not layer.startswith("enc.blocks.9")]
    shallow = [layer for layer in DEEP if layer.startswith(("enc.blocks.0", "enc.blocks.1"))]
    figure = comparison_figure([table_of(0, deep), table_of(1, shallow)], ["run0", "run1"])
    query = curves(panels_of(figure)[0])
    assert query["run0"].get_xdata().tolist() == list(range(9))
    assert query["run1"].get_xdata().tolist() == [0, 1]
    assert query["run1"].get_ydata().tolist() == [value(1, n, "train") for n in (0, 6)]


def test_a_hyperparameter_of_the_name_of_a_word_is_meant_by_it():
    tables = [table_of(run, FEW) for run in range(2)]
    configs = [{"run": "a"}, {"run": "b"}]
    figure = comparison_figure(tables, ["run0", "run1"], configs, by="run")
    assert [axes.get_title(loc="left") for axes in panels_of(figure)] == ["run = a", "run = b"]


def test_signs_for_what_has_no_place_stand_at_the_lower_edge_of_types():
    rows = {layer: Cell(10.0**-n, math.nan) for n, layer in enumerate(DEEP)}
    rows["enc.blocks.2.attn.k"] = Cell(0.0, math.nan)
    rows["enc.blocks.4.attn.v"] = Cell(math.inf, math.nan)
    table = LayerTable("covariance-determinant", 1, DEEP, {"train": rows})
    figure = comparison_figure([table], ["only"], by="type")
    keys, values = panels_of(figure)[1:3]
    low, _ = keys.get_ylim()
    zero = next(line for line in keys.get_lines() if line.get_marker() == "v")
    broken = next(line for line in values.get_lines() if line.get_marker() == "x")
    assert (zero.get_xdata().tolist(), zero.get_ydata().tolist()) == ([2], [low])
    assert (broken.get_xdata().tolist(), broken.get_ydata().tolist()) == ([4], [low])
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["train", "0", "not a finite number"]


def test_a_run_without_layers_of_a_type_leaves_the_others_their_room():
    without = [layer for layer in DEEP if not layer.endswith(("fc1", "fc2"))]
    figure = comparison_figure([table_of(0, DEEP), table_of(1, without)], ["run0", "run1"])
    rgba_pixels(figure)  # warns where the layout collapses
    assert all(axes.get_position().width > 0.15 for axes in panels_of(figure))


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((None, None, None), "epoch (3 to 7)"),
        ((None, 40, 80), "epoch (3 to 7)"),
        ((90, 40, 80), "row (steps 40 to 90)"),
    ],
)
def test_the_title_tells_between_which_epochs_runs_ended(steps, told):
    tables = [
        replace(table_of(run, FEW), epoch=epoch, step=step)
        for run, (epoch, step) in enumerate(zip((7, 3, 7), steps, strict=True))
    ]
    figure = comparison_figure(tables, ["a", "b", "c"])
    assert figure.get_suptitle().replace("\n", " ") == f"Saturation, at each run's last {told}"
