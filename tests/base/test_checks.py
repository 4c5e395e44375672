"""Checks of values that arguments share."""

import numpy as np
import pytest

from delve.base.checks import check_count, check_share
from delve.errors import ArgumentError


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(1)])
def test_a_whole_number_of_at_least_1_is_a_count(value):
    assert check_count("log_interval", value) == value
    assert type(check_count("log_interval", value)) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, True, np.float64(2), float("nan")])
def test_nothing_else_is_a_count(value):
    with pytest.raises(ArgumentError, match="log_interval must be a whole number of at least 1"):
        check_count("log_interval", value)


@pytest.mark.parametrize("value", [1, 0.99, np.float32(0.5), 1e-9])
def test_what_is_above_0_and_at_most_1_is_a_share(value):
    assert check_share("thresh", value) == pytest.approx(float(value))


@pytest.mark.parametrize("value", [0, -0.1, 1.0001, float("nan"), float("inf"), "0.9", None])
def test_nothing_else_is_a_share(value):
    with pytest.raises(ArgumentError, match=r"thresh must be in \(0, 1\], for example 0.99, not"):
        check_share("thresh", value)
