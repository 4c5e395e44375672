"""A run as its journal tells it, read without changing anything."""

import pytest
from support.journals import saturations, write_run

from delve.errors import JournalError
from delve.journal.journal import Journal
from delve.journal.reading import JOURNAL_NAME
from delve.journal.stored_run import read_kept_runs, read_run
from delve.records import EpochRecord, Metric

FC = Metric("train", "saturation", "fc")


def record(epoch, value=0.5, scalars=None):
    return EpochRecord(
        epoch, 1_700_000_000_000 + epoch, scalars or {"accuracy": value}, {FC: value}
    )


def write(folder, epochs, config=None):
    journal = Journal.create(folder, ["fc"], config or {})
    for epoch in epochs:
        journal.write_epoch(record(epoch, epoch / 10), ["fc"])
    return journal


def test_a_run_is_read_back_whole(tmp_path):
    write(tmp_path, range(4), {"lr": 0.1}).close()
    journal = Journal.resume(tmp_path, 2, config={"lr": 0.2})
    journal.write_epoch(record(2, 9.0), ["fc", "late"])
    run = read_run(tmp_path)  # while it is being written
    journal.close()
    assert (run.run_id, run.created) == (journal.run_id, journal.created)
    assert run.epochs == [0, 1, 2]
    assert repr(run.records[2]) == repr(record(2, 9.0))
    assert (run.resumes, run.layers, run.config) == ((2,), ("fc", "late"), {"lr": 0.2})
    assert run.metrics == ("accuracy", FC)


def test_reading_changes_no_file(tmp_path):
    write(tmp_path, range(2)).close()
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(path.read_bytes() + b'{"type": "epoch", "ep')  # torn by a crash
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert read_run(tmp_path).epochs == [0, 1]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [file.name for file in tmp_path.iterdir()] == [JOURNAL_NAME]


def test_what_is_no_run_is_an_error_that_names_it(tmp_path):
    with pytest.raises(JournalError, match="holds no journal"):
        read_run(tmp_path)
    with pytest.raises(JournalError, match="nowhere is not a folder"):
        read_run(tmp_path / "nowhere")


def test_the_runs_that_are_kept_beside_it_are_read_newest_first(tmp_path):
    for loss in (1.0, 2.0, 3.0, 4.0):
        write_run(tmp_path, [{"loss": loss}])
    (tmp_path / "journal.2.jsonl").write_text("nothing that can be read\n")
    (tmp_path / "journal.x.jsonl").write_text("")
    kept = [run.records[0].scalars["loss"] for run in read_kept_runs(tmp_path)]
    assert kept == [3.0, 1.0]


def test_an_epoch_is_found_and_changed_where_it_is_read(tmp_path):
    run = read_run(write_run(tmp_path, [saturations({"fc": 0.5})] * 3))
    assert run.record_of(2).epoch == 2
    assert run.record_of(3) is None
    late = run.with_each(lambda one: EpochRecord(one.epoch, 0, {"only": 1.0}, {}))
    assert late.record_of(2).scalars == {"only": 1.0}
    assert list(late.overview.scalars) == ["only"]
    assert late.epochs == run.epochs == [0, 1, 2]
