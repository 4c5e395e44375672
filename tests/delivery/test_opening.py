"""Writers that are started or resumed: what they are told, and what their answers lead to."""

import numpy as np
import pytest
from support.deliveries import Answers, Flaky, Keeping, Run, rows, warnings_of

# Where a writer was away


def test_what_went_void_while_a_writer_was_away_is_cut_when_it_is_back(tmp_path):
    away, always = Keeping("away"), Keeping("always")
    Run(tmp_path, away, always).open().save(*range(10)).close()
    Run(tmp_path, always, initial_epoch=3).open().save(*range(3, 6)).close()
    Run(tmp_path, away, always, initial_epoch=6).open().save(6).close()
    assert [call["initial_epoch"] for call in away.resumed] == [3]
    assert [call["initial_epoch"] for call in always.resumed] == [3, 6]
    assert away.given[10:] == [3, 4, 5, 6]
    assert always.given == [*range(10), 3, 4, 5, 6]
    assert away.rows == always.rows == rows(*range(7))


def test_the_lowest_of_several_resumes_counts_and_only_those_since_it_was_there(tmp_path):
    away, always = Keeping("away"), Keeping("always")
    Run(tmp_path, away, always).open().save(*range(10)).close()
    for first in (2, 3, 4):
        Run(tmp_path, always, initial_epoch=first).open().save(first).close()
    Run(tmp_path, away, always, initial_epoch=5).open().close()
    Run(tmp_path, away, always, initial_epoch=5).open().close()
    assert [call["initial_epoch"] for call in away.resumed] == [2, 5]
    assert away.rows == always.rows == rows(*range(5))


def test_one_that_cannot_be_opened_was_away(tmp_path, clock):
    flaky, always = Keeping("flaky"), Keeping("always")
    Run(tmp_path, flaky, always).open().save(*range(6)).close()
    flaky.is_down = True
    Run(tmp_path, flaky, always, initial_epoch=2).open().save(2, 3).close()
    flaky.is_down = False
    Run(tmp_path, flaky, always, initial_epoch=4).open().save(4).close()
    assert [call["initial_epoch"] for call in flaky.resumed] == [2]
    assert flaky.rows == rows(*range(5))


def test_one_that_fails_at_first_is_cut_and_fed_all_of_it_later(tmp_path, clock):
    away, always = Keeping("away"), Keeping("always")
    Run(tmp_path, away, always).open().save(*range(6)).close()
    Run(tmp_path, always, initial_epoch=2).open().save(2, 3).close()
    away.is_down = True
    run = Run(tmp_path, away, always, initial_epoch=4).open().save(4)
    away.is_down = False
    clock.now += 60
    run.save(5).close()
    assert away.rows == always.rows == rows(*range(6))


def test_what_an_earlier_run_left_in_the_folder_goes_when_a_writer_is_back(tmp_path):
    away, always = Keeping("away"), Keeping("always")
    Run(tmp_path, away, always).open().save(*range(6)).close()
    Run(tmp_path, always).open().save(0, 1).close()
    Run(tmp_path, away, always, initial_epoch=2).open().save(2).close()
    assert away.hooks.count("start") == 2
    assert not away.resumed
    assert away.rows == always.rows == rows(0, 1, 2)


def test_one_that_comes_new_to_a_run_resumes_as_ever(tmp_path):
    new, always = Keeping("new"), Keeping("always")
    Run(tmp_path, always).open().save(*range(6)).close()
    Run(tmp_path, always, initial_epoch=2).open().save(2, 3).close()
    Run(tmp_path, always, new, initial_epoch=4).open().close()
    assert [call["initial_epoch"] for call in new.resumed] == [4]
    assert new.rows == rows(*range(4))


def test_where_a_line_of_the_journal_is_damaged_nothing_is_cut_on_suspicion(tmp_path):
    away, always = Keeping("away"), Keeping("always")
    Run(tmp_path, away, always).open().save(*range(6)).close()
    Run(tmp_path, always, initial_epoch=2).open().save(2, 3).close()
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write("no line of a journal\n")
    Run(tmp_path, away, always, initial_epoch=4).open().close()
    assert [call["initial_epoch"] for call in away.resumed] == [4]


# Resume


@pytest.mark.parametrize("answer", [0, 1, 3, np.int64(2)])
def test_a_resumed_writer_is_fed_from_where_it_says(recorded, answer):
    writer = Answers(answer)
    Run(recorded, writer, initial_epoch=4).open().save(4).close()
    assert writer.rows == rows(*range(int(answer), 5))


@pytest.mark.parametrize("answer", [None, 4])
def test_a_writer_that_lacks_nothing_is_fed_nothing(recorded, answer):
    writer = Answers(answer)
    Run(recorded, writer, initial_epoch=4).open().save(4).close()
    assert writer.rows == rows(4)


def test_only_what_lies_below_the_resumed_epoch_is_fed_again(recorded):
    writer = Answers(0)
    Run(recorded, writer, initial_epoch=2).open().save(2).close()
    assert writer.rows == rows(0, 1, 2)


@pytest.mark.parametrize("answer", [5, -1, "2", 2.0, "all"])
def test_an_answer_that_makes_no_sense_is_named(recorded, caplog, answer):
    writer = Answers(answer)
    Run(recorded, writer, initial_epoch=4).open().save(4).close()
    assert f"returned {answer!r}; it must return the first epoch" in warnings_of(caplog)[0]
    assert writer.rows == {}


def test_a_resume_that_failed_is_repeated_before_the_writer_is_fed(recorded, clock):
    flaky = Flaky("resume_from_saved_state", calls=[0])
    run = Run(recorded, flaky, initial_epoch=4).open().save(4)
    assert flaky.hooks == []
    clock.now += 2
    run.save(5)
    assert flaky.hooks[0] == "resume_from_saved_state"
    assert flaky.rows == rows(*range(6))
    run.close()


def test_a_writer_without_resume_gets_what_is_new(recorded):
    class OnlySaves:
        epochs: tuple[int, ...] = ()

        def save(self, epoch):
            self.epochs += (epoch,)

    writer = OnlySaves()
    Run(recorded, writer, initial_epoch=4).open().save(4).close()
    assert writer.epochs == (4,)


def test_what_a_writer_remembers_is_its_own_and_survives(tmp_path):
    class Remembers:
        def __init__(self, name):
            self.name = name

        def start(self, run):
            run.remember(id=f"run of {self.name}")

        def resume_from_saved_state(self, run):
            self.found = dict(run.state)

    Run(tmp_path, Remembers("one"), Remembers("other")).open().save(0).close()
    one, other = Remembers("one"), Remembers("other")
    Run(tmp_path, other, one, initial_epoch=1).open().close()
    assert (one.found, other.found) == ({"id": "run of one"}, {"id": "run of other"})
