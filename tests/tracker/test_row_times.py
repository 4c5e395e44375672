"""When a trainer's callback takes a row."""

import pytest

from delve.errors import ArgumentError
from delve.tracker import RowTimes


def rows(times, moments):
    """The steps of the rows that a training of these moments takes."""
    taken = []
    for moment, step in moments:
        if moment == "step":
            taken.append(times.take())
        getattr(times, f"after_{moment}")(step)
    return [step for step in [*taken, times.take()] if step is not None]


MOMENTS = [
    *(("step", step) for step in (1, 2, 3)),
    ("evaluation", 3),
    ("evaluation", 3),  # of a second data set
    ("step", 4),
    ("epoch", 4),
    *(("step", step) for step in (5, 6)),
    ("evaluation", 6),
    *(("step", step) for step in (7, 8)),
    ("epoch", 8),
    ("evaluation", 8),
]


@pytest.mark.parametrize(
    ("every", "evaluates", "expected"),
    [
        (None, True, [3, 6, 8]),
        (None, False, [4, 8]),
        ("epoch", True, [4, 8]),
        ("evaluation", False, [3, 6, 8]),
        (3, True, [3, 6]),
        (4, False, [4, 8]),
        (1, False, [1, 2, 3, 4, 5, 6, 7, 8]),
        (9, False, []),
    ],
)
def test_a_row_comes_with_its_moments_once_a_step(every, evaluates, expected):
    times = RowTimes(every)
    times.begin(evaluates, 0)
    assert rows(times, MOMENTS) == expected


def test_a_training_that_goes_on_takes_no_row_of_before():
    times = RowTimes("evaluation")
    times.begin(True, 3)
    assert rows(times, [("evaluation", 3), ("step", 4), ("evaluation", 4)]) == [4]


def test_an_evaluation_before_the_first_step_has_a_row():
    times = RowTimes()
    times.begin(True, 0)
    assert rows(times, [("evaluation", 0), ("step", 1), ("evaluation", 1)]) == [0, 1]


def test_a_good_end_has_a_row_unless_there_is_one():
    times = RowTimes(4)
    times.begin(False, 0)
    times.at_the_end(3)
    assert times.take() == 3
    times.at_the_end(3)
    assert times.take() is None


@pytest.mark.parametrize(("gather", "expected"), [("window", [1, 2, 3, 4, 5, 6]), ("last", [3, 6])])
def test_last_gathers_the_step_that_is_due_alone(gather, expected):
    times = RowTimes(3, gather)
    assert [step for step in range(1, 7) if times.gathers(step)] == expected


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "step", "auto", [2]])
def test_every_is_checked_at_once(every):
    with pytest.raises(ArgumentError, match="every must be a number of training steps"):
        RowTimes(every)


@pytest.mark.parametrize("every", [None, "epoch"])
def test_last_needs_a_number_of_steps(every):
    with pytest.raises(ArgumentError, match="needs every as a number"):
        RowTimes(every, "last")


def test_gather_is_checked_at_once():
    with pytest.raises(ArgumentError, match="gather must be 'window' or 'last'"):
        RowTimes(3, "first")
