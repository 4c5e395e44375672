import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.errors import ArgumentError
from delve.numerics.spectrum import Spectrum
from delve.stats.functions import intrinsic_dimensionality, saturation
from delve.stats.selection import select_stats


def spectrum(*eigenvalues):
    return Spectrum(np.array(eigenvalues, dtype=float), samples=100)


@pytest.mark.parametrize(
    ("eigenvalues", "threshold", "expected"),
    [
        ((0.6, 0.39, 0.01), 0.99, 2),  # delve 0.1 said 1, which explains 60 %
        ((0.6, 0.39, 0.01), 0.60, 1),
        ((0.6, 0.39, 0.01), 0.61, 2),
        ((0.6, 0.39, 0.01), 1.0, 3),
        ((1.0, 0.0, 0.0), 0.99, 1),
        ((0.0, 0.0), 0.99, 1),  # outputs that never vary
        ((0.1,) * 100, 0.99, 99),  # reached but for rounding
        ((5.0,), 1.0, 1),
    ],
)
def test_intrinsic_dimensionality_is_the_smallest_k_that_reaches_the_threshold(
    eigenvalues, threshold, expected
):
    assert intrinsic_dimensionality(spectrum(*eigenvalues), threshold) == expected
    assert saturation(spectrum(*eigenvalues), threshold) == expected / len(eigenvalues)


@given(
    st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=30),
    st.floats(min_value=0.01, max_value=1),
)
def test_k_directions_reach_the_threshold_and_k_minus_1_do_not(eigenvalues, threshold):
    values = np.sort(eigenvalues)[::-1]
    k = int(intrinsic_dimensionality(Spectrum(values, 100), threshold))
    total = math.fsum(values)
    assert math.fsum(values[:k]) >= threshold * total * (1 - 1e-9)
    assert k == 1 or math.fsum(values[: k - 1]) < threshold * total


def test_a_spectrum_that_is_not_finite_gives_nan():
    broken = spectrum(math.nan, math.nan)
    assert math.isnan(intrinsic_dimensionality(broken, 0.99))
    assert math.isnan(saturation(broken, 0.99))


def test_a_suffix_keeps_one_mode():
    (both,) = select_stats(["lsat"])
    (evaluation,) = select_stats(["lsat_eval"])
    assert both.modes == ("train", "eval")
    assert evaluation.modes == ("eval",)
    assert evaluation.stat.name == "saturation"


@pytest.mark.parametrize("name", ["nonsense", "lsat_test", "lsat_", "", "_eval", "saturation"])
def test_an_unknown_statistic_is_refused_with_the_choices(name):
    with pytest.raises(ArgumentError, match="choose from lsat"):
        select_stats([name])
