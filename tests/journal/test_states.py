"""What the journals in a folder tell of the writers."""

import os

import pytest

from delve.journal.journal import Journal
from delve.journal.states import most_bytes, remembered_states
from delve.records import EpochRecord


def run(folder, writer, state, metric):
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal.create(folder, (), {})
    journal.remember(writer, state)
    journal.write_epoch(EpochRecord(0, 0, {metric: 1.0}, {}), ())
    journal.close()


def test_the_states_of_the_run_and_of_earlier_ones_are_told(tmp_path):
    run(tmp_path, "csv", {"file": "one.csv"}, "a")
    run(tmp_path, "npy", {}, "b")
    run(tmp_path / "earlier" / "1", "csv", {"file": "three.csv"}, "c")
    run(tmp_path / "other", "csv", {"file": "not told"}, "d")
    told = {
        (one.folder, one.writer, one.state.get("file"), *one.metrics)
        for one in remembered_states(tmp_path)
    }
    assert told == {
        (tmp_path, "csv", "one.csv", "a"),
        (tmp_path, "npy", None, "b"),
        (tmp_path / "earlier" / "1", "csv", "three.csv", "c"),
    }


def test_a_journal_that_cannot_be_read_tells_nothing(tmp_path):
    run(tmp_path, "csv", {"file": "one.csv"}, "a")
    (tmp_path / "journal.1.jsonl").write_text("theirs\n")
    os.mkfifo(tmp_path / "journal.2.jsonl")
    (tmp_path / "journal.3.jsonl").mkdir()
    (tmp_path / "journal.4.jsonl").symlink_to(tmp_path / "journal.jsonl")
    assert [one.state for one in remembered_states(tmp_path)] == [{"file": "one.csv"}]
    assert list(remembered_states(tmp_path / "missing")) == []


def test_a_longer_journal_explains_a_larger_table(tmp_path):
    without = most_bytes(tmp_path)
    run(tmp_path, "csv", {}, "a")
    first = most_bytes(tmp_path)
    run(tmp_path, "csv", {}, "a" * 1000)
    assert without < first < most_bytes(tmp_path)


@pytest.mark.parametrize("state", ["5", "null", '["file"]', '"csv"'])
def test_a_state_of_another_shape_is_passed_over(tmp_path, state):
    run(tmp_path, "csv", {"file": "one.csv"}, "a")
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write(f'{{"type": "state", "writer": "npy", "state": {state}}}\n')
    assert [one.state for one in remembered_states(tmp_path)] == [{"file": "one.csv"}]
