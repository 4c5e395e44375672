import math

import pytest

from delve.base.bar import draw_bar


@pytest.mark.parametrize(
    ("share", "bar"),
    [
        (0.0, "░░░░"),
        (0.5, "██░░"),
        (0.9, "████"),
        (1.0, "████"),
        (1.7, "████"),
        (-0.1, "░░░░"),
        (1e308, "████"),
        (math.nan, "    "),
        (math.inf, "    "),
    ],
)
def test_a_bar_is_full_by_its_share(share, bar):
    assert draw_bar(share, 4) == bar


def test_its_signs_can_be_chosen():
    assert draw_bar(0.25, 8, full="#", empty=".") == "##......"
