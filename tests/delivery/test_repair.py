"""A journal that is written anew; with real backends, see the tests of lost journals."""

import pytest

from delve.delivery.repair import repair
from delve.errors import JournalError, RunFolderInUseError, WriterNotFoundError
from delve.journal.journal import Journal
from delve.journal.lock import FolderLock
from delve.journal.stored_run import read_run
from delve.records import EpochRecord, Metric

FC = Metric("train", "saturation", "fc")


@pytest.fixture
def folder(tmp_path):
    """A run of three epochs, of which a writer remembers something."""
    folder = tmp_path / "run"
    folder.mkdir()
    journal = Journal.create(folder, ["fc"], {"lr": 0.1})
    journal.remember("mine", {"id": 7})
    for epoch in range(3):
        journal.write_epoch(
            EpochRecord(epoch, 1000 + epoch, {"loss": 1.0}, {FC: epoch / 4}), ["fc"]
        )
    journal.close()
    return folder


def change(folder, changed):
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(changed(lines)))
    return path.read_bytes()


def test_a_whole_journal_stays_as_it_is(folder):
    before = (folder / "journal.jsonl").read_bytes()
    found = repair(folder)
    assert not found.is_new
    assert found.kept is None
    assert (found.is_same_run, found.own, found.epochs) == (True, [0, 1, 2], [0, 1, 2])
    assert found.states == ["mine"]
    assert (folder / "journal.jsonl").read_bytes() == before


def test_a_lost_header_is_written_anew_from_what_the_lines_tell(folder):
    before = read_run(folder)
    records = list(before.records)
    damaged = change(folder, lambda lines: lines[1:])
    found = repair(folder)
    assert found.is_new
    assert not found.is_same_run
    assert found.kept.read_bytes() == damaged
    after = read_run(folder)
    assert list(after.records) == records
    assert after.run_id == found.run_id != before.run_id
    assert after.layers == ("fc",)


def test_an_unreadable_line_goes_and_the_rest_stays(folder):
    run_id = read_run(folder).run_id
    change(folder, lambda lines: [*lines[:-2], b"#" + lines[-2][1:], lines[-1]])
    found = repair(folder)
    assert (found.is_new, found.is_same_run, found.run_id) == (True, True, run_id)
    assert list(read_run(folder).epochs) == found.epochs == [0, 2]
    assert not repair(folder).is_new


def test_there_must_be_something_to_write_it_from(folder, tmp_path):
    (folder / "journal.jsonl").write_bytes(b"")
    with pytest.raises(JournalError, match="there is nothing to write a journal from"):
        repair(folder)
    with pytest.raises(JournalError, match="is not a folder"):
        repair(tmp_path / "gone")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(JournalError):
        repair(empty)
    assert not list(empty.iterdir())


def test_a_run_that_is_being_recorded_is_left_alone(folder):
    lock = FolderLock(folder)
    try:
        with pytest.raises(RunFolderInUseError):
            repair(folder)
    finally:
        lock.release()


def test_a_writer_that_is_named_must_be_there(folder):
    with pytest.raises(WriterNotFoundError):
        repair(folder, ["nobodys"])


def test_epochs_come_back_from_a_backend_with_the_times_of_their_neighbours(folder):
    pytest.importorskip("delve_csv")
    rows = "".join(f"{epoch},{1.0},{epoch / 4}\n" for epoch in range(3))
    (folder / "metrics.csv").write_text(f"epoch,loss,{FC}\n{rows}")
    change(folder, lambda lines: [*lines[:-2], lines[-1]])
    found = repair(folder, ["csv"])
    assert found.guessed_times == [1]
    assert [source.taken for source in found.sources] == [[1]]
    records = {record.epoch: record for record in read_run(folder).records}
    assert records[1] == EpochRecord(1, 1001, {"loss": 1.0}, {FC: 0.25})
