import itertools

import pytest
import torch
from support.networks import HEALTHY, classified, run
from torch import nn

from delve.cli.choice import Choice
from delve.cli.report import layer_table
from delve.cli.tail import find_drop, find_tail, stretches
from delve.journal.stored_run import read_run


def tail_of(*values):
    layers = [f"layer{number}" for number in range(len(values))]
    tail = find_tail(layers, {layer: [v] for layer, v in zip(layers, values, strict=True)})
    assert tail == tuple(layer for layer in layers if layer in tail)  # in forward order
    return [values[layers.index(layer)] for layer in tail]


@pytest.mark.parametrize(
    ("values", "tail"),
    [
        ((0.8, 0.9, 0.7, 0.1, 0.2, 0.1), [0.1, 0.2, 0.1]),
        ((0.8, 0.9, 0.7, 0.1, 0.2, 0.1, 0.9), [0.1, 0.2, 0.1]),  # the output layer stands above
        ((0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1), [0.3, 0.2, 0.1]),
    ],
)
def test_the_tail_is_the_longest_end_that_lies_below_half_of_the_median_before_it(values, tail):
    assert tail_of(*values) == tail


@pytest.mark.parametrize(
    "values",
    [
        (),
        (0.1,),
        (0.8, 0.9, 0.7, 0.8, 0.6, 0.7),  # all alike
        (0.8, 0.9, 0.7, 0.8, 0.1),  # one low layer is no tail
        (0.8, 0.9, 0.7, 0.1, 0.1, 0.8, 0.8),  # low in the middle
        (0.8, 0.9, 0.1, 0.1),  # too few layers before it
        (0.8, 0.8, 0.8, 0.4, 0.4),  # just half is not below half
        (0.1, 0.1, 0.1, 0.8, 0.8),
    ],
)
def test_other_patterns_have_no_tail(values):
    assert tail_of(*values) == []


def test_a_tail_is_low_in_both_modes():
    layers = ["a", "b", "c", "d", "e"]
    low = {"a": [0.9, 0.9], "b": [0.9, 0.9], "c": [0.9, 0.9], "d": [0.1, 0.1], "e": [0.1, 0.1]}
    assert find_tail(layers, low) == ("d", "e")
    assert find_tail(layers, low | {"d": [0.1, 0.8]}) == ()


def test_layers_without_a_value_are_passed_over():
    layers = ["a", "b", "c", "none", "d", "e"]
    values = {"a": [0.9], "b": [0.9], "c": [0.9], "none": [], "d": [0.1], "e": [0.1]}
    assert find_tail(layers, values) == ("d", "e")


def test_layers_between_those_of_a_tail_part_it():
    assert stretches("abcdefg", ("d", "e", "g")) == [["d", "e"], ["g"]]
    assert stretches("abc", ()) == []


# --- by dimensionalities -------------------------------------------------------------------------


def drop_of(*values):
    layers = [f"layer{number}" for number in range(len(values))]
    found = find_drop(layers, {layer: [v] for layer, v in zip(layers, values, strict=True)})
    return [values[layers.index(layer)] for layer in found]


@pytest.mark.parametrize(
    ("values", "tail"),
    [
        # Trained on the digits, of the table of examples/tail_hint.py; the last is the output.
        ((47, 20, 6, 4, 3, 3, 3, 4, 4, 4), [6, 4, 3, 3, 3, 4, 4]),
        ((32, 22, 8, 6, 5, 4, 6, 5), [8, 6, 5, 4, 6]),
        ((30, 30, 9, 8, 8, 9), [9, 8, 8]),
        ((30, 18, 9, 8, 8, 9), [9, 8, 8]),  # 0.5 of the layer before, not of the first
    ],
)
def test_a_tail_begins_behind_a_drop_and_stays_low(values, tail):
    assert drop_of(*values) == tail


@pytest.mark.parametrize(
    "values",
    [
        (),
        (5,),
        (34, 34, 29, 22, 17, 13, 9, 9, 6, 5, 4, 3),  # untrained: it falls by and by
        (48, 33, 24, 25, 10),  # and here only the output is low
        (47, 44, 10, 8, 7),  # two layers are no tail
        (40, 12, 10, 9, 8),  # one layer is too few before
        (40, 30, 12, 30, 40, 50),  # a bottleneck, and a decoder behind it
        (60, 58, 57, 60, 55, 58, 10),  # wide throughout
        (60, 30, 20, 3, 3, 12, 3, 9),  # not about as low as another
    ],
)
def test_other_dimensionalities_have_none(values):
    assert drop_of(*values) == []


def test_the_widths_of_layers_do_not_matter():
    """Saturation of a network that narrows need not fall at all where its dimensionality does."""
    widths, dimensions = (128, 96, 64, 24, 12, 12, 10), (40, 30, 10, 8, 6, 6, 6)
    assert drop_of(*dimensions) == [10, 8, 6, 6]
    assert tail_of(*(d / w for d, w in zip(dimensions, widths, strict=True))) == []


# --- of networks ---------------------------------------------------------------------------------


def tail_shown(folder):
    return layer_table(read_run(folder), Choice("saturation")).tail


@pytest.mark.parametrize("name", HEALTHY)
def test_an_untrained_network_has_none(tmp_path, name):
    make, loss, arguments = HEALTHY[name]
    torch.manual_seed(0)
    folder = run(tmp_path / "run", make(), loss, epochs=1, lr=0, count=512, **arguments)
    assert tail_shown(folder) == ()


def test_a_decoder_has_none(tmp_path):
    torch.manual_seed(0)
    make, loss, arguments = HEALTHY["autoencoder"]
    assert tail_shown(run(tmp_path / "run", make(), loss, epochs=4, **arguments)) == ()


def test_a_network_that_narrows_behind_its_solution_has_one(tmp_path):
    """Digits need no eight layers: what is behind the second adds nothing."""
    torch.manual_seed(0)
    widths = [64, 96, 80, 64, 48, 40, 32, 24, 20]
    model = nn.Sequential(nn.Flatten())
    for inputs, outputs in itertools.pairwise(widths):
        model.append(nn.Linear(inputs, outputs)).append(nn.ReLU())
    model.append(nn.Linear(20, 10))
    folder = run(tmp_path / "run", model, classified, epochs=12)
    assert set(tail_shown(folder)) >= {"9", "11", "13", "15"}
