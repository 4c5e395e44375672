"""The states of a writer, and that its docstring's table tells all transitions."""

import re

import pytest

from delve.delivery.standing import Standing, State

TRANSITIONS = {
    "go_back": lambda standing: standing.go_back(2),
    "open": lambda standing: standing.open(2),
    "take": lambda standing: standing.take(2),
    "catch_up": lambda standing: standing.catch_up(),
    "fall_behind": lambda standing: standing.fall_behind(7),
    "give_up": lambda standing: standing.give_up(7),
    "lose_backend": lambda standing: standing.lose_backend(),
}


def standing_in(state):
    standing = Standing(5)
    standing.state = state
    return standing


def told_by_the_table():
    """(transition, from, to) of each row."""
    told, name = set(), ""
    for line in Standing.__doc__.splitlines():
        row = re.match(r"\s*(?:``(\w+)\(.*?\)``|\.\.)\s+(NEW|CURRENT|BEHIND|AWAY)\s+(\w+)", line)
        if row:
            name = row[1] or name
            told.add((name, State[row[2]], State[row[3]]))
    return told


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("transition", TRANSITIONS)
def test_the_table_tells_each_transition(transition, state):
    standing = standing_in(state)
    told = {end for name, begin, end in told_by_the_table() if (name, begin) == (transition, state)}
    try:
        TRANSITIONS[transition](standing)
    except AssertionError:
        assert not told
    else:
        assert (told or {state}) == {standing.state}


@pytest.mark.parametrize(
    ("state", "is_open", "is_behind"),
    [
        (State.NEW, False, False),
        (State.CURRENT, True, False),
        (State.BEHIND, True, True),
        (State.AWAY, False, True),
    ],
)
def test_what_a_state_says(state, is_open, is_behind):
    standing = standing_in(state)
    assert (standing.is_open, standing.is_behind) == (is_open, is_behind)


def test_the_first_lacking_epoch_stays_the_first():
    standing = standing_in(State.CURRENT)
    standing.fall_behind(3)
    standing.fall_behind(4)
    assert standing.first_lacking == 3
    standing.take(3)
    assert standing.first_lacking == 4
    standing.lose_backend()
    standing.fall_behind(9)
    assert (standing.state, standing.first_lacking) == (State.AWAY, 4)
    standing.open(1)
    assert (standing.state, standing.first_lacking) == (State.BEHIND, 1)


def test_what_is_given_up_is_noted_and_passed_over():
    standing = standing_in(State.BEHIND)
    standing.give_up(5)
    standing.give_up(6)
    assert (standing.given_up, standing.first_lacking) == ([5, 6], 7)


def test_a_writer_that_is_up_to_date_loses_no_backend():
    standing = standing_in(State.CURRENT)
    standing.lose_backend()
    assert standing.state is State.CURRENT
