import math

import pytest

from delve.stats import Stat
from delve.stats.functions import saturation


def test_a_statistic_of_three_arguments_says_the_least():
    stat = Stat("mine", "my-own-rank", saturation)
    assert (stat.title, stat.label, stat.summary) == ("My own rank", "my own rank", "")
    assert stat.limits == (-math.inf, math.inf)
    assert not stat.is_share
    assert not stat.is_bounded_by_samples
    assert stat.needs_eigenvalues
    assert stat.scale == "auto"


def test_what_is_said_of_it_stays():
    stat = Stat("mine", "mine", saturation, title="Mine", label="mine (bits)", limits=(0, 1))
    assert (stat.title, stat.label) == ("Mine", "mine (bits)")
    assert stat.is_share


@pytest.mark.parametrize("name", ["My Stat", "", "-a", "a--b", "a_b", "a/b"])
def test_a_long_name_that_keys_cannot_hold_is_refused(name):
    with pytest.raises(ValueError, match="lower-case letters"):
        Stat("mine", name, saturation)


@pytest.mark.parametrize("limits", [(1.0, 0.0), (1.0, 1.0), (math.nan, 1.0)])
def test_limits_between_which_nothing_lies_are_refused(limits):
    with pytest.raises(ValueError, match="mine: limits go from a lower end up"):
        Stat("mine", "mine", saturation, limits=limits)


def test_a_scale_that_no_axis_has_is_refused():
    with pytest.raises(ValueError, match="mine: the scale is one of auto, linear, log, not 'cube'"):
        Stat("mine", "mine", saturation, scale="cube")
