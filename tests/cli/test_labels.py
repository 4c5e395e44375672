"""Names of layers that fit a terminal."""

import re

import pytest
from rich.cells import cell_len

from delve.cli.labels import layer_labels, run_labels, shorten


def test_a_long_name_keeps_its_end():
    assert shorten("layer1.0.conv1", 14) == "layer1.0.conv1"
    assert shorten("layer1.0.conv1", 9) == "….0.conv1"
    short = shorten("transformer.encoder.layers.11.linear1", 24)
    assert (len(short), short[:6], short[-13:]) == (24, "transf", "rs.11.linear1")


def test_layers_that_would_look_the_same_get_more_room():
    names = [f"layer{stage}.0.downsample.0" for stage in (1, 2)]
    assert layer_labels(["conv1", *names], 50) == [
        f"{'conv1':<17}",
        "…1.0.downsample.0",
        "…2.0.downsample.0",
    ]
    assert layer_labels(names[:1], 50) == ["…0.downsample.0"]


def test_nested_names_that_half_the_terminal_does_not_tell_apart_keep_their_numbers():
    end = "depthwise_separable_convolution"
    names = [
        f"backbone_feature_extractor.stage_{stage}_residual_group.{block}.{end}.{layer}"
        for stage in range(9, 12)
        for block in range(4)
        for layer in (0, 2)
    ]
    labels = layer_labels(["stem", *names, "head"], 80)
    assert labels[0].rstrip() == "stem"
    assert len(set(labels)) == len(names) + 2
    assert {len(label) for label in labels} <= set(range(41))
    for name, label in zip(names, labels[1:-1], strict=True):
        stage, block, layer = re.findall("[0-9]+", name)
        assert re.findall("[0-9]+", label) == [stage, block, layer]


def test_modules_that_differ_at_their_ends_keep_these():
    block = "encoder_of_the_transformer.{}.feed_forward_projection_{}.activation_function"
    names = [block.format(n, way) for n in range(12) for way in ("in", "out")]
    labels = layer_labels(names, 60)
    assert len(set(labels)) == len(names)
    assert ["_in." in label for label in labels] == [True, False] * 12


def test_at_worst_a_number_tells_names_apart():
    endless = ["a" * 100, "a" * 101]
    assert layer_labels(endless, 50) == [f"{n} …{'a' * 12}" for n in (1, 2)]


WIDE = ["编码器.层.0.注意力.输出", "编码器.层.1.注意力.输出", "head"]


@pytest.mark.parametrize("width", [80, 40, 24])
def test_names_in_signs_of_two_cells_are_of_one_width(width):
    labels = layer_labels(WIDE, width)
    assert len(set(labels)) == len(WIDE)
    assert len({cell_len(label) for label in labels}) == 1
    assert cell_len(labels[0]) <= width // 2 + 1  # a sign of two cells is not cut in two


@pytest.mark.parametrize("room", range(1, 24))
def test_no_shortened_name_is_wider_than_its_room(room):
    for name in (*WIDE, "e\u0301" * 20, "\U0001f469\u200d\U0001f52c" * 6):
        assert cell_len(shorten(name, room)) <= room


@pytest.mark.parametrize(
    ("names", "beginning", "labels"),
    [
        (["a/w16", "a/w64"], "a/", ["w16", "w64"]),
        (["w16-lr0.1", "w16-lr0.01"], "w16-", ["lr0.1", "lr0.01"]),
        (["lr-1e-3", "lr-1e-4"], "lr-", ["1e-3", "1e-4"]),
        (["net.a", "net.b"], "net.", ["a", "b"]),
        (["a/run", "a/run/earlier/1"], "a/", ["run", "run/earlier/1"]),
        (["only"], "", ["only"]),
    ],
)
def test_runs_are_called_by_what_tells_them_apart_and_no_number_is_cut(names, beginning, labels):
    assert run_labels(names, 80) == (beginning, labels)


def test_long_names_of_runs_are_shortened_and_stay_apart():
    names = [f"{n}/{'the-same-words-' * 6}{n}" for n in range(12)]
    beginning, labels = run_labels(names, 80)
    assert beginning == ""
    assert len(set(labels)) == 12
    assert max(map(len, labels)) <= 40
