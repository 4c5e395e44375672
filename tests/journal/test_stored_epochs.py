"""The epochs of a journal as a sequence that reads them when they are wanted."""

from dataclasses import replace

import pytest
from support.journals import write_run

from delve.errors import JournalError
from delve.journal.reading import JOURNAL_NAME
from delve.journal.stored_epochs import StoredEpochs
from delve.journal.stored_run import read_run
from delve.records import EpochRecord

HELD = [EpochRecord(epoch, epoch, {"loss": float(epoch)}, {}) for epoch in (0, 2, 3, 7)]


@pytest.fixture(params=["in memory", "in a journal"])
def epochs(request, tmp_path):
    if request.param == "in memory":
        return StoredEpochs.of(HELD[:3])
    return read_run(write_run(tmp_path, [{"loss": float(epoch)} for epoch in range(3)])).records


def test_it_is_a_sequence(epochs):
    held = tuple(epochs)
    assert len(epochs) == len(held) == 3
    assert epochs == held
    assert epochs[0] == held[0]
    assert epochs[-1] == held[-1]
    assert tuple(epochs[1:]) == held[1:]
    assert tuple(epochs[::2]) == held[::2]
    assert tuple(epochs[::-1]) == held[::-1]
    assert tuple(epochs[1:][1:]) == held[2:]
    assert epochs != held[:2]
    with pytest.raises(IndexError):
        epochs[3]


def test_an_epoch_is_found_by_its_number():
    epochs = StoredEpochs.of(HELD)
    assert epochs.of_epoch(3) == HELD[2]
    assert epochs[2:].of_epoch(3) == HELD[2]  # type: ignore[attr-defined]
    assert epochs[3:].of_epoch(3) is None  # type: ignore[attr-defined]
    assert epochs.of_epoch(1) is None


def test_each_is_changed_when_it_is_read(epochs):
    def later(record):
        return replace(record, timestamp=record.timestamp + 1)

    assert list(epochs.changed(later)) == [later(record) for record in epochs]
    assert list(epochs.changed(later).changed(later)[1:]) == [later(later(r)) for r in epochs[1:]]


def other_run(path):
    path.rename(path.with_name("old"))
    write_run(path.parent, [{"loss": 9.0}] * 3)


def other_bytes(path):
    content = path.read_bytes()
    path.write_bytes(content[:-40] + b"#" * 40)


def other_epoch(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"epoch": 2', b'"epoch": 9'))


@pytest.mark.parametrize("change", [other_run, other_bytes, other_epoch])
def test_a_journal_that_changes_meanwhile_is_told(tmp_path, change):
    run = read_run(write_run(tmp_path, [{"loss": 1.0}] * 3))
    change(tmp_path / JOURNAL_NAME)
    with pytest.raises(JournalError, match="was changed by another program"):
        list(run.records)


def test_a_journal_that_is_gone_is_told(tmp_path):
    run = read_run(write_run(tmp_path, [{"loss": 1.0}] * 3))
    (tmp_path / JOURNAL_NAME).unlink()
    with pytest.raises(JournalError, match="cannot be read any more"):
        list(run.records)
