"""What an author of a writer records with: trainings, killed ones, and what the journal holds."""

import json

import pytest
from support.writers import Recorder

from delve.delivery import attempts
from delve.testing import (
    HISTORIES,
    fast_retries,
    journal_entries,
    journal_lines,
    journal_rows,
    train,
    train_and_die,
)


class Down:
    """A writer whose backend is down in some epochs."""

    def __init__(self, *epochs):
        self.down = set(epochs)
        self.held = []

    def save(self, epoch):
        if epoch in self.down:
            self.down.remove(epoch)
            raise OSError("down")
        self.held.append(epoch)


def test_a_training_records_what_the_journal_holds(tmp_path):
    writer = Recorder()
    train(tmp_path, writer, range(4))
    assert writer.rows == journal_rows(tmp_path)
    assert [row["accuracy"] for row in journal_rows(tmp_path).values()] == [0, 0.1, 0.2, 0.3]
    assert [epoch for epoch, row in journal_rows(tmp_path).items() if "rare/score" in row] == [0, 3]


@pytest.mark.parametrize(("where", "held"), [("mid-epoch", [0, 1]), ("before-writer", [0, 1, 2])])
def test_a_killed_training_leaves_its_epochs(tmp_path, where, held):
    train_and_die(tmp_path, "print", range(2), where)
    assert list(journal_rows(tmp_path)) == held


def test_epochs_that_a_resume_made_void_do_not_count(tmp_path):
    train(tmp_path, "print", range(5))
    first = journal_entries(tmp_path)
    train(tmp_path, "print", range(2, 4))
    now = journal_entries(tmp_path)
    assert list(now) == [0, 1, 2, 3]
    assert [now[epoch]["time"] == first[epoch]["time"] for epoch in now] == [
        True,
        True,
        False,
        False,
    ]


def test_a_line_that_cannot_be_read_is_an_error_or_passed_over(tmp_path):
    train(tmp_path, "print", range(2))
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write('{"type": "epo')
    with pytest.raises(json.JSONDecodeError):
        list(journal_lines(tmp_path))
    assert list(journal_rows(tmp_path, damaged=True)) == [0, 1]


@pytest.mark.parametrize("history", HISTORIES[-2:])
def test_a_history_ends_with_epochs(tmp_path, history):
    history(tmp_path, "print")
    rows = journal_rows(tmp_path)
    assert list(rows) == list(range(len(rows)))
    assert rows


def test_without_waiting_a_writer_is_fed_again_at_the_next_epoch(tmp_path):
    writer, held = Down(1), []

    class Looks:
        def save(self, epoch):
            held.append(list(writer.held))

    with fast_retries():
        train(tmp_path, [writer, Looks()], range(4))
    assert held == [[0], [0], [0, 1, 2], [0, 1, 2, 3]]


@fast_retries()
def fail():
    assert attempts.FIRST_WAIT == attempts.WAIT_RATIO == 0
    raise KeyError


def test_waits_are_back_even_after_an_error():
    before = attempts.FIRST_WAIT, attempts.WAIT_RATIO
    with pytest.raises(KeyError):
        fail()
    assert before == (attempts.FIRST_WAIT, attempts.WAIT_RATIO)
    assert all(before)
