"""Layers of one type, by their names."""

import pytest
from delve_plot.layer_types import layer_types

ENDS = ("attn.q", "attn.k", "mlp.fc1", "mlp.fc2")


def transformer(blocks, ends=ENDS):
    return ["embed", *(f"enc.blocks.{b}.{end}" for b in range(blocks) for end in ends), "head"]


def resnet():
    names = ["conv1"]
    for stage, blocks in enumerate((3, 4, 3), 1):
        for block in range(blocks):
            names += [f"layer{stage}.{block}.conv{n}" for n in (1, 2)]
            names += [f"layer{stage}.{block}.downsample.0"] if block == 0 else []
    return names


def test_names_that_differ_in_the_number_of_the_block_are_of_one_type():
    found = layer_types(transformer(4))
    assert found is not None
    assert found.names == [f"enc.blocks.*.{end}" for end in ENDS]
    assert found.types[1].layers == tuple(f"enc.blocks.{b}.attn.k" for b in range(4))
    assert found.types[1].depths == ((0,), (1,), (2,), (3,))
    assert found.others == ("embed", "head")
    assert found.short_names() == [*ENDS, "other layers"]
    assert [len(band) for band in found.bands()] == [4, 4, 4, 4, 2]


def test_blocks_within_stages_have_two_numbers():
    found = layer_types(resnet())
    assert found is not None
    assert set(found.names) == {"layer*.*.conv1", "layer*.*.conv2", "layer*.0.downsample.0"}
    depths = {one.name: one.depths for one in found.types}
    assert depths["layer*.*.conv2"][:4] == ((1, 0), (1, 1), (1, 2), (2, 0))
    assert depths["layer*.0.downsample.0"] == ((1, 0), (2, 0), (3, 0))
    assert found.depths[-1] == (3, 2)


def test_a_number_within_a_name_is_that_of_a_block_where_layers_lie_below_it():
    names = [f"denseblock{b}.denselayer{n}.conv{c}" for b in (1, 2) for n in (1, 2) for c in (1, 2)]
    found = layer_types(names)
    assert found is not None
    assert found.names == [f"denseblock*.denselayer*.conv{c}" for c in (1, 2)]
    assert found.types[0].depths == ((1, 1), (1, 2), (2, 1), (2, 2))


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["conv1", "conv2", "fc"],
        [f"features.{n}" for n in range(16)] + [f"classifier.{n}" for n in range(0, 9, 3)],
        [f"blocks.{n}.fc" for n in range(20)],  # one layer a block
        transformer(2),  # too few blocks to show a course
        [*transformer(3), *(f"branch_{n}" for n in "abcdefghijklmno")],  # mostly something else
    ],
)
def test_layers_without_blocks_that_repeat_have_no_types(names):
    assert layer_types(names) is None
