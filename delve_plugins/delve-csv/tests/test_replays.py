"""Rows that come again are written many at a time, and each is there once in the end."""

import contextlib
import csv
import math
import os
import resource
import signal

import pytest
from delve_csv import CSVWriter
from delve_csv import writer as csv_writer
from torch import nn

from delve import RunInfo, SaturationTracker
from delve.errors import BackendLostError
from delve.testing import journal_rows

EPOCHS = 300
ODD = (math.nan, math.inf, -math.inf, 1e-300, -0.0, 1e16)


def track(folder, save_to, epochs, first=None):
    first = EPOCHS if first is None else first
    with SaturationTracker(folder, save_to, nn.Linear(2, 2), initial_epoch=first) as tracker:
        for epoch in epochs:
            tracker.add_scalar("loss", epoch / 7)
            if epoch % 5:
                tracker.add_scalar("rare", ODD[epoch % 6])
            tracker.save()


@pytest.fixture
def run(tmp_path):
    """One that has no table."""
    track(tmp_path, "print", range(EPOCHS), first=0)
    return tmp_path


def rows_of(folder):
    rows = {}
    with (folder / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            epoch = int(row.pop("epoch"))
            assert epoch not in rows
            rows[epoch] = {name: cell for name, cell in row.items() if cell}
    return rows


def assert_right(folder):
    expected = {
        epoch: {
            name: "NaN" if math.isnan(value) else repr(float(value)) for name, value in row.items()
        }
        for epoch, row in journal_rows(folder).items()
    }
    assert rows_of(folder) == expected


@contextlib.contextmanager
def files_limited_to(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("most", [1, 100, 1000, 2**20])
def test_the_table_is_the_one_of_row_by_row(run, monkeypatch, most):
    monkeypatch.setattr(csv_writer, "_MOST_WAITING", most)
    track(run, "csv", range(EPOCHS, EPOCHS + 3))
    assert_right(run)
    track(run, "csv", [], first=EPOCHS + 3)
    assert_right(run)


def test_rows_that_wait_are_few_writes(run, monkeypatch):
    written, write = [], CSVWriter._write

    def counting(writer, begin, line, epoch):
        written.append(epoch)
        write(writer, begin, line, epoch)

    monkeypatch.setattr(CSVWriter, "_write", counting)
    track(run, "csv", [EPOCHS])
    assert len(written) < 5
    assert_right(run)


def test_a_disk_that_is_full_meanwhile_costs_no_row(run, monkeypatch, caplog):
    monkeypatch.setattr(csv_writer, "_MOST_WAITING", 1000)
    monkeypatch.setattr("delve.delivery.attempts.FIRST_WAIT", 0.0)
    monkeypatch.setattr("delve.delivery.attempts.WAIT_RATIO", 0.0)
    with files_limited_to(5000):
        tracker = SaturationTracker(run, "csv", nn.Linear(2, 2), initial_epoch=EPOCHS)
    held = rows_of(run)
    assert 0 < len(held) < EPOCHS
    for epoch in range(EPOCHS, EPOCHS + 3):
        tracker.add_scalar("loss", epoch)
        tracker.save()
    tracker.close()
    assert "did not get" not in caplog.text
    assert_right(run)


def test_what_a_full_disk_never_took_is_named(run, monkeypatch, caplog):
    monkeypatch.setattr(csv_writer, "_MOST_WAITING", 1000)
    with files_limited_to(5000):
        SaturationTracker(run, "csv", nn.Linear(2, 2), initial_epoch=EPOCHS).close()
    held = rows_of(run)
    assert 0 < len(held) < EPOCHS
    assert f"did not get epochs {len(held)}-{EPOCHS - 1}" in caplog.text


def test_a_kill_meanwhile_costs_no_row(run, monkeypatch):
    child = os.fork()
    if not child:
        try:
            save = CSVWriter.save

            def killing(self, epoch, run):
                if epoch == EPOCHS - 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                save(self, epoch, run)

            monkeypatch.setattr(CSVWriter, "save", killing)
            track(run, "csv", [])
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    track(run, "csv", [EPOCHS])
    assert_right(run)


def test_what_another_program_writes_meanwhile_is_not_overwritten(tmp_path):
    told = RunInfo(tmp_path, "id", 0, initial_epoch=5, epochs=tuple(range(5)))
    writer = CSVWriter(tmp_path)
    writer.resume_from_saved_state(5, told)
    for epoch in range(4):
        writer.add_scalar("loss", epoch)
        writer.save(epoch, told)
    before = writer.path.read_bytes() + b"theirs\n"
    writer.path.write_bytes(before)
    writer.add_scalar("loss", 4)
    with pytest.raises(BackendLostError, match="another program has written"):
        writer.save(4, told)
    assert writer.path.read_bytes() == before


def test_what_waits_is_written_at_the_end_and_a_row_given_twice_counts_once(tmp_path):
    told = RunInfo(tmp_path, "id", 0, initial_epoch=9, epochs=tuple(range(9)))
    writer = CSVWriter(tmp_path)
    writer.resume_from_saved_state(9, told)
    for epoch, value in ((0, 0.0), (1, 1.0), (2, 2.5), (2, 2.0), (3, 3.0), (1, 1.5)):
        writer.add_scalar("loss", value)
        writer.save(epoch, told)
    writer.add_scalar("loss", 4.0)
    writer.save(4, told)
    writer.close()
    assert rows_of(tmp_path) == {
        epoch: {"loss": repr(value)} for epoch, value in enumerate((0.0, 1.5, 2.0, 3.0, 4.0))
    }
