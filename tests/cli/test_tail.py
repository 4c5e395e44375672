import pytest

from delve.cli.tail import find_tail, stretches


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
