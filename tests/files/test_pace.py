from unittest import mock

import pytest

from delve.files.pace import Pace


@pytest.fixture
def clock():
    """Stands in for the time: ``clock.return_value += 2`` lets two seconds go by."""
    clock = mock.Mock(return_value=100.0)
    with mock.patch("time.monotonic", clock):
        yield clock


def do(pace, clock, seconds):
    with pace.measured():
        clock.return_value += seconds


def test_it_is_due_at_first(clock):
    assert Pace(0.05).is_due()


def test_what_takes_long_is_due_again_when_that_is_its_share_of_the_time(clock):
    pace = Pace(0.05, pause=5)
    do(pace, clock, 2)
    clock.return_value += 39
    assert not pace.is_due()
    clock.return_value += 1
    assert pace.is_due()


def test_what_takes_no_time_keeps_the_pause(clock):
    pace = Pace(0.05, pause=5)
    do(pace, clock, 0.1)
    clock.return_value += 4.9
    assert not pace.is_due()
    clock.return_value += 0.1
    assert pace.is_due()


def test_over_a_long_run_it_takes_no_more_than_its_share(clock):
    pace, spent = Pace(0.02), 0.0
    for step in range(20_000):
        clock.return_value += 0.03
        if pace.is_due():
            do(pace, clock, 0.1 + step / 10_000)  # the longer the run, the more it costs
            spent += 0.1 + step / 10_000
    assert 0.01 < spent / (clock.return_value - 100) <= 0.021


def test_what_failed_is_due_at_once(clock):
    def fail():
        with pace.measured():
            clock.return_value += 2
            raise OSError("full")

    pace = Pace(0.05, pause=5)
    with pytest.raises(OSError, match="full"):
        fail()
    assert pace.is_due()
