"""Numbers of a line by name, also those that are not decoded before they are wanted."""

import math

import pytest

from delve.journal import values
from delve.journal.values import WrittenNumbers
from delve.records import Metric


def test_numbers_are_decoded_when_they_are_wanted():
    written = WrittenNumbers(("a", "b"), [b"0.5", b"no number"])
    assert list(written) == ["a", "b"]
    assert len(written) == 2
    with pytest.raises(ValueError, match="could not convert"):
        written["a"]
    assert dict(WrittenNumbers(("a", "b"), [b"1e-300", b"-0.0"])) == {"a": 1e-300, "b": 0.0}


def test_both_kinds_give_the_same():
    metric = Metric("train", "saturation", "fc")
    assert values.numbers({"a": 1, "b": "NaN"}).keys() == {"a", "b"}
    assert values.numbers({"a": "Infinity", "b": "-Infinity"}) == {"a": math.inf, "b": -math.inf}
    assert values.numbers(WrittenNumbers(("a",), [b"2.5"])) == values.numbers({"a": 2.5})
    assert values.layer_metrics(WrittenNumbers((metric,), [b"2.5"])) == {metric: 2.5}
    (read,) = values.layer_metrics({"train-saturation/fc": 2.5, "no metric": 1.0})
    assert (read.mode, read.stat, read.layer) == ("train", "saturation", "fc")


@pytest.mark.parametrize(
    ("fits", "sound", "unsound"),
    [
        (values.is_epoch, [0, 2**53], [-1, 2**53 + 1, True, 1.0, "1", None]),
        (values.is_epoch_or_none, [0, None], [-1, False, ""]),
        (values.is_line_number, [1, None], [0, True, "1"]),
        (values.is_time, [0, 1_700_000_000_000], [-1, 2**63, 1.5, None]),
        (values.are_names, [[], ["fc"]], [None, "fc", [1], ("fc",)]),
        (values.are_names_or_none, [None, []], ["", [None]]),
        (values.are_names_by_mode_or_none, [None, {}, {"train": ["fc"]}], [[], {"train": "fc"}]),
        (
            values.are_numbers,
            [{}, {"a": 1.5, "b": 2, "c": "NaN"}, {"a": -0.0}],
            [None, [], {"a": None}, {"a": "nan"}, {"a": "0.5"}, {"a": 10**400}, {"a": [1.0]}],
        ),
    ],
)
def test_what_passes_for_a_value(fits, sound, unsound):
    assert all(map(fits, sound))
    assert not any(map(fits, unsound))
