"""The bars that ``tracker.saturation()`` and ``verbose=True`` draw."""

import math
import re

import pytest

from delve.tracker.console import show_saturations

LINE = re.compile(r"(?P<name>\w+): +(?P<percent>\d+)%\|(?P<bar>#* *)\| (?P<value>\d+\.\d)/100")


@pytest.fixture
def shown(capsys):
    """What is drawn of these saturations, as lines."""

    def shown(saturations, epoch=None):
        show_saturations(saturations, epoch)
        return capsys.readouterr().out.splitlines()

    return shown


def test_a_bar_has_the_documented_form(shown):
    """``linear1:  90%|#########  | 90.0/100``, of whole signs."""
    values = {"linear1": 0.9, "b": 0.437, "full": 1.0, "nearly_none": 0.004, "none": 0.0}
    lines = shown({("train", name): value for name, value in values.items()})
    for line, (name, value) in zip(lines, values.items(), strict=True):
        found = LINE.fullmatch(line)
        assert found, line
        assert found["name"] == name
        assert found["percent"] == f"{100 * value:.0f}"
        assert found["value"] == f"{100 * value:.1f}"
        bar = found["bar"]
        assert bar.count("#") == pytest.approx(value * len(bar), abs=1)
    assert lines[0].startswith("linear1:      90%|####")
    assert len({len(LINE.fullmatch(line)["bar"]) for line in lines}) == 1
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_has_no_bar(shown, value):
    assert shown({("train", "fc"): value}) == ["fc: not finite"]


def test_a_value_beyond_1_has_a_full_bar(shown):
    beyond, full = shown({("train", "a"): 1.25, ("train", "b"): 1.0})
    assert beyond.count("#") == full.count("#") == full.index("|", 10) - full.index("|") - 1
    assert beyond.endswith("| 125.0/100")


def test_a_name_cannot_rule_the_terminal(shown):
    layer = "\x1b]0;owned\x07\n\u202efc"
    first, second = shown({("train", layer): 0.5, ("train", "a"): 0.5})
    assert first.startswith(r"\x1b]0;owned\x07\n\u202efc:  50%|")
    assert first.index("|") == second.index("|")


def test_the_modes_stand_below_each_other(shown):
    saturations = {("train", "a"): 0.5, ("eval", "a"): 0.25}
    assert [line[:5] for line in shown(saturations)] == ["train", "a:  5", "eval", "a:  2"]
    assert shown(saturations, epoch=3)[::2] == ["train, epoch 3", "eval, epoch 3"]
