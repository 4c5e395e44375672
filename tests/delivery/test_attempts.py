"""When a writer is tried, and what that takes of a training's time."""

import math

import pytest
from support.deliveries import Flaky, Run, loss, rows, warnings_of

from delve.delivery import attempts
from delve.delivery.standing import Standing, State


def tries_at(run, writer, clock, seconds):
    """The seconds, from now on, in which the writer is tried, with an epoch every second."""
    begun, tried = clock.now, []
    for epoch in range(seconds):
        before = writer.tries
        run.save(epoch)
        if writer.tries > before:
            tried.append(clock.now - begun)
        clock.now += 1
    return tried


def test_the_wait_doubles_up_to_five_minutes(tmp_path, clock):
    dead = Flaky("add_scalar")
    run = Run(tmp_path, dead).open()
    assert tries_at(run, dead, clock, 1200) == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111]
    run.close()


def test_the_wait_is_counted_in_seconds_and_not_in_epochs(tmp_path, clock):
    dead = Flaky("add_scalar")
    run = Run(tmp_path, dead).open()
    for epoch in range(500):
        run.save(epoch)
        clock.now += 0.001
    assert dead.tries == 1
    run.close()


def test_a_recovered_writer_begins_anew_with_a_second(tmp_path, clock):
    flaky = Flaky("add_scalar", calls=[0, 1, 2, 8])
    run = Run(tmp_path, flaky).open()
    for epoch in range(8):
        run.save(epoch)
        clock.now += 10 if epoch < 3 else 1
    assert flaky.rows == rows(*range(8))
    run.close()


class FailsSlowly(Flaky):
    """Takes nine seconds to fail."""

    def __init__(self, clock):
        super().__init__("add_scalar")
        self.clock = clock

    def may_fail(self, hook):
        if hook == self.failing:
            self.clock.now += 9
        super().may_fail(hook)


def test_attempts_that_take_long_are_a_twentieth_of_the_run_at_most(tmp_path, clock):
    slow = FailsSlowly(clock)
    run = Run(tmp_path, slow).open()
    begun = clock.now
    tries_at(run, slow, clock, 1000)
    assert 9 * slow.tries <= 0.05 * (clock.now - begun) + 9
    run.close()


def test_two_dead_writers_share_what_one_may_take(tmp_path, clock):
    dead = FailsSlowly(clock), FailsSlowly(clock)
    run = Run(tmp_path, *dead).open()
    begun = clock.now
    tries_at(run, dead[0], clock, 4000)
    assert 9 * sum(writer.tries for writer in dead) <= 0.05 * (clock.now - begun) + 2 * 9
    run.close()


def test_catching_up_holds_the_training_up_for_seconds_at_a_time(tmp_path, clock):
    class Slow(Flaky):
        def save(self, epoch, timestamp):
            clock.now += 1
            super().save(epoch, timestamp)

    slow = Slow("add_scalar", calls=[0])
    run = Run(tmp_path, slow, patience=1000.0).open()
    for epoch in range(100):
        run.save(epoch)
    assert slow.saved == []
    clock.now += 200
    begun = clock.now
    run.save(100)
    assert slow.saved == list(range(3))
    assert clock.now - begun == 3
    run.save(101)
    assert clock.now - begun == 3  # a twentieth of the run
    clock.now += 20 * 3
    run.save(102)
    assert slow.saved == list(range(6))
    run.close()
    assert slow.rows == rows(*range(103))


def test_a_writer_that_holds_the_training_up_is_named_once_with_its_seconds(
    tmp_path, clock, caplog
):
    class Blocks:
        def save(self):
            clock.now += 12

    Run(tmp_path, Blocks()).open().save(0, 1).close()
    assert warnings_of(caplog) == ["writer 'Blocks' held the training up for 12 s in save"]


def test_a_slow_writer_that_cannot_replace_is_given_no_scalar_twice(tmp_path, clock):
    class Old:
        def __init__(self):
            self.scalars = []

        def add_scalar(self, name, value):
            self.scalars.append(value)

        def save(self):
            clock.now += 3

    old = Old()
    Run(tmp_path, old).open().save(*range(10)).close()
    assert old.scalars == [loss(epoch) for epoch in range(10)]


# By themselves


def standings(*states):
    made = [Standing(0) for _ in states]
    for standing, state in zip(made, states, strict=True):
        standing.state = state
    return made


def test_the_time_that_is_left_is_that_of_the_attempt_under_way(clock):
    one = attempts.Attempts([])
    assert one.time_left() == math.inf
    one.begin(9.0)
    clock.now += 4
    assert one.time_left() == 5
    clock.now += 60
    assert one.time_left() == 0
    one.begin(3.0)
    assert one.time_left() == 3


@pytest.mark.parametrize(("seconds", "feeding", "until"), [(9, 2, 2), (1, 2, 1), (9, math.inf, 9)])
def test_it_feeds_on_until_either_time_is_up(clock, seconds, feeding, until):
    one = attempts.Attempts([])
    one.begin(seconds, feeding)
    clock.now += until - 0.5
    assert one.may_feed_on()
    clock.now += 1
    assert not one.may_feed_on()


@pytest.mark.parametrize(
    ("others", "share"),
    [
        ([], 1),
        ([State.CURRENT, State.NEW], 1),
        ([State.BEHIND], 2),
        ([State.AWAY, State.BEHIND], 3),
    ],
)
def test_who_lacks_something_shares_the_time_with_all_that_do(clock, others, share):
    one = attempts.Attempts(standings(State.BEHIND, *others))
    one.begin(9.0)
    clock.now += 5
    one.failed()
    clock.now += 20 * 5 * share - 1
    assert not one.is_due()
    clock.now += 1
    assert one.is_due()


def test_an_epoch_has_to_be_slow_thrice_in_a_row_to_be_put_off(clock):
    one = attempts.Attempts(standings(State.CURRENT))
    for seconds in (2, 2, 0.5, 2, 2):
        one.begin(9.0)
        clock.now += seconds
        one.succeeded(lacks_more=False, is_epoch=True)
        assert one.is_due()
    one.begin(9.0)
    clock.now += 2
    one.succeeded(lacks_more=False, is_epoch=True)
    assert not one.is_due()
    assert one.took == 2


def test_what_comes_once_may_take_its_time(clock):
    one = attempts.Attempts(standings(State.CURRENT))
    for _ in range(5):
        one.begin(9.0)
        clock.now += 5
        one.succeeded(lacks_more=False)
    assert one.is_due()


@pytest.mark.parametrize(("seconds", "is_quick"), [(0.05, True), (0.5, False)])
def test_a_failure_in_next_to_no_time_is_known(clock, seconds, is_quick):
    one = attempts.Attempts(standings(State.BEHIND))
    one.begin(9.0)
    clock.now += seconds
    one.failed()
    assert one.failed_quickly is is_quick
    one.succeeded(lacks_more=False)
    assert not one.failed_quickly
