import contextlib
import csv
import os
import resource
import signal
import stat
import subprocess
import sys

import pandas as pd
import pytest
import torch
from delve_csv import CSVWriter
from delve_csv import writer as csv_writer
from torch import nn

from delve import RunInfo, SaturationTracker
from delve.errors import RejectedError
from delve.records import Metric
from delve.testing import fast_retries, journal_rows


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def run_info(folder, initial_epoch=0, epochs=(), **facts):
    return RunInfo(folder, "id", 0, initial_epoch=initial_epoch, epochs=tuple(epochs), **facts)


def train(folder, model, epochs, initial_epoch=0, value=lambda epoch: epoch / 7):
    tracker = SaturationTracker(folder, "csv", model, initial_epoch=initial_epoch)
    for epoch in epochs:
        model(torch.randn(30, 4) + epoch)
        tracker.add_scalar("accuracy", value(epoch))
        if epoch % 3 == 2:
            tracker.add_scalar("rare", epoch)
        tracker.add_saturations()
    return tracker


def table(folder):
    return pd.read_csv(folder / "metrics.csv")


def assert_same_as_journal(folder):
    rows = {}
    with (folder / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            epoch = int(row.pop("epoch"))
            assert epoch not in rows
            rows[epoch] = {name: float(cell) for name, cell in row.items() if cell}
    assert rows == journal_rows(folder)


def test_a_fresh_run_gives_one_row_an_epoch(tmp_path, model):
    train(tmp_path, model, range(4)).close()
    frame = table(tmp_path)
    assert list(frame["epoch"]) == [0, 1, 2, 3]
    assert list(frame.columns) == [
        "epoch",
        "accuracy",
        "train-saturation/0",
        "train-saturation/2",
        "rare",
    ]
    assert list(frame["accuracy"]) == [epoch / 7 for epoch in range(4)]
    assert frame["rare"].isna().tolist() == [True, True, False, True]
    assert_same_as_journal(tmp_path)


def test_the_head_of_the_table_is_as_documented(tmp_path):
    writer = CSVWriter(tmp_path)
    writer.start()
    writer.add_scalar("accuracy", 0.5)
    writer.save(0)
    writer.add_scalar("accuracy", float("nan"))
    writer.add_scalar('a, "quoted"\nname', float("-inf"))
    writer.save(1)
    assert (tmp_path / "metrics.csv").read_text() == (
        'epoch,accuracy,"a, ""quoted""\nname"\n0,0.5,\n1,NaN,-inf\n'
    )
    assert list(writer.read()["epoch"]) == [0, 1]


def test_an_epoch_is_in_the_file_as_soon_as_it_is_saved(tmp_path, model):
    tracker = train(tmp_path, model, range(2))
    assert list(table(tmp_path)["epoch"]) == [0, 1]
    tracker.close()


def test_a_known_row_is_appended_without_rewriting_the_file(tmp_path):
    writer = CSVWriter(tmp_path)
    writer.start()
    inodes = []
    for epoch in range(3):
        writer.add_scalar("accuracy", epoch)
        writer.save(epoch)
        inodes.append((tmp_path / "metrics.csv").stat().st_ino)
    assert inodes[0] == inodes[1] == inodes[2]


def test_a_resumed_run_replaces_the_rows_from_there_on(tmp_path, model):
    train(tmp_path, model, range(6)).close()
    train(tmp_path, model, range(3, 5), initial_epoch=3, value=lambda epoch: -epoch).close()
    assert list(table(tmp_path)["accuracy"]) == [0, 1 / 7, 2 / 7, -3, -4]
    assert_same_as_journal(tmp_path)


def test_a_run_resumed_twice_and_lower_than_ever_holds_each_epoch_once(tmp_path, model):
    train(tmp_path, model, range(6)).close()
    train(tmp_path, model, range(4, 7), initial_epoch=4).close()
    train(tmp_path, model, range(1, 3), initial_epoch=1).close()
    assert list(table(tmp_path)["epoch"]) == [0, 1, 2]
    assert_same_as_journal(tmp_path)


def test_a_new_run_overwrites_the_old_table(tmp_path, model):
    train(tmp_path, model, range(6)).close()
    train(tmp_path, model, range(2)).close()
    assert list(table(tmp_path)["epoch"]) == [0, 1]
    assert_same_as_journal(tmp_path)


def test_a_table_named_for_the_first_time_on_resume_gets_the_whole_history(tmp_path, model):
    with SaturationTracker(tmp_path, "print", model) as tracker:
        for epoch in range(4):
            tracker.add_scalar("accuracy", epoch)
            tracker.save()
    train(tmp_path, model, range(4, 5), initial_epoch=4).close()
    assert list(table(tmp_path)["epoch"]) == [0, 1, 2, 3, 4]
    assert_same_as_journal(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 30, 60, 95, 110])
def test_a_table_torn_anywhere_is_repaired_from_the_journal(tmp_path, model, keep):
    train(tmp_path, model, range(5)).close()
    path = tmp_path / "metrics.csv"
    columns = set(table(tmp_path).columns)
    path.write_bytes(path.read_bytes()[:keep])
    train(tmp_path, model, range(5, 6), initial_epoch=5).close()
    assert list(table(tmp_path)["epoch"]) == [0, 1, 2, 3, 4, 5]
    assert set(table(tmp_path).columns) == columns
    assert_same_as_journal(tmp_path)


def test_a_table_without_a_readable_header_is_kept_aside(tmp_path, model, caplog):
    train(tmp_path, model, range(2)).close()
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes().replace(b"epoch", b"\xffpoch", 1))
    damaged = path.read_bytes()
    train(tmp_path, model, range(2, 3), initial_epoch=2).close()
    assert (tmp_path / "metrics.damaged.csv").read_bytes() == damaged
    assert "no readable header" in caplog.text
    assert list(table(tmp_path)["epoch"]) == [0, 1, 2]
    assert_same_as_journal(tmp_path)


@pytest.mark.parametrize("zeros", [512, 600, None])
def test_a_table_whose_beginning_a_power_cut_took_is_rebuilt_in_its_place(tmp_path, model, zeros):
    train(tmp_path, model, range(12)).close()
    path = tmp_path / "metrics.csv"
    content = path.read_bytes()
    zeros = len(content) if zeros is None else zeros
    damaged = bytes(zeros) + content[zeros:]
    path.write_bytes(damaged)
    train(tmp_path, model, range(12, 13), initial_epoch=12).close()
    assert list(table(tmp_path)["epoch"]) == list(range(13))
    assert_same_as_journal(tmp_path)
    assert not (tmp_path / "metrics-delve.csv").exists()
    assert (tmp_path / "metrics.damaged.csv").read_bytes() == damaged


def test_a_row_damaged_in_the_middle_is_repaired_from_the_journal(tmp_path, model):
    train(tmp_path, model, range(5)).close()
    path = tmp_path / "metrics.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b",", b"\xff", 1)
    path.write_bytes(b"".join(lines))
    train(tmp_path, model, range(5, 6), initial_epoch=5).close()
    assert list(table(tmp_path)["epoch"]) == [0, 1, 2, 3, 4, 5]
    assert_same_as_journal(tmp_path)


def test_without_a_journal_the_rows_below_are_kept(tmp_path, model):
    train(tmp_path, model, range(5)).close()
    (tmp_path / "journal.jsonl").unlink()
    train(tmp_path, model, range(3, 4), initial_epoch=3).close()
    assert list(table(tmp_path)["epoch"]) == [0, 1, 2, 3]


def test_an_epoch_that_comes_again_replaces_the_row(tmp_path):
    writer = CSVWriter(tmp_path)
    writer.start()
    for epoch, value in ((0, 1.0), (1, 2.0), (1, 3.0), (0, 4.0), (2, 5.0), (2, 6.0)):
        writer.add_scalar("accuracy", value)
        writer.save(epoch)
    assert writer.read().values.tolist() == [[0, 4.0], [1, 3.0], [2, 6.0]]


KILLED = """
import os, signal, sys, torch
from delve import SaturationTracker
model = torch.nn.Linear(4, 3)
tracker = SaturationTracker(sys.argv[1], "csv", model, initial_epoch=int(sys.argv[2]))
for epoch in range(int(sys.argv[2]), 9):
    tracker.add_scalar("accuracy", epoch)
    if epoch == int(sys.argv[3]):
        model(torch.randn(9, 4))
        os.kill(os.getpid(), signal.SIGKILL)
    tracker.add_saturations()
"""


def test_sigkill_in_the_middle_of_an_epoch_loses_no_row(tmp_path):
    for begin, killed_in in ((0, 5), (3, 4), (4, 7)):
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(begin), str(killed_in)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert list(table(tmp_path)["epoch"]) == list(range(killed_in))
    assert_same_as_journal(tmp_path)


@fast_retries()
def test_a_full_disk_does_not_end_the_run_and_loses_nothing(tmp_path, model, caplog):
    tracker = train(tmp_path, model, range(2))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = (tmp_path / "metrics.csv").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 3, hard))
        for epoch in (2, 3):
            tracker.add_scalar("accuracy", epoch)
            tracker.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert caplog.text.count("writer 'csv' failed at epoch 2") == 1
    tracker.add_scalar("accuracy", 4.0)
    tracker.save()
    tracker.close()
    assert list(table(tmp_path)["epoch"]) == [0, 1, 2, 3, 4]
    assert_same_as_journal(tmp_path)


def test_a_table_that_another_program_shortens_is_made_whole_again(tmp_path, model, caplog):
    tracker = train(tmp_path, model, range(4))
    path = tmp_path / "metrics.csv"
    os.truncate(path, len(b"".join(path.read_bytes().splitlines(keepends=True)[:3])))
    for epoch in (4, 5):
        tracker.add_scalar("accuracy", epoch)
        tracker.save()
    tracker.close()
    assert f"another program has shortened {path}" in caplog.text
    assert list(table(tmp_path)["epoch"]) == [0, 1, 2, 3, 4, 5]
    assert_same_as_journal(tmp_path)


def test_a_table_that_is_deleted_in_the_training_is_written_anew(tmp_path, model, caplog):
    tracker = train(tmp_path, model, range(3))
    (tmp_path / "metrics.csv").unlink()
    tracker.add_scalar("accuracy", 3)
    tracker.save()
    tracker.close()
    assert f"another program has deleted {tmp_path / 'metrics.csv'}" in caplog.text
    assert list(table(tmp_path)["epoch"]) == [0, 1, 2, 3]
    assert_same_as_journal(tmp_path)


def test_a_path_that_ends_in_csv_is_the_file_itself(tmp_path, model):
    writer = CSVWriter(tmp_path / "tables" / "mine.csv")
    with SaturationTracker(tmp_path / "run", writer, model) as tracker:
        tracker.add_scalar("accuracy", 0.5)
        tracker.save()
    assert (tmp_path / "tables" / "mine.csv").read_text() == "epoch,accuracy\n0,0.5\n"


def test_the_file_has_the_permissions_of_any_other(tmp_path, model):
    usual = tmp_path / "usual"
    usual.touch()
    train(tmp_path, model, range(1)).close()
    mode = stat.S_IMODE((tmp_path / "metrics.csv").stat().st_mode)
    assert mode == stat.S_IMODE(usual.stat().st_mode)


def test_the_file_comes_with_its_first_row(tmp_path, model):
    tracker = SaturationTracker(tmp_path, "csv", model)
    assert not (tmp_path / "metrics.csv").exists()
    tracker.add_scalar("accuracy", 0.5)
    assert not (tmp_path / "metrics.csv").exists()
    tracker.save()
    assert (tmp_path / "metrics.csv").read_text() == "epoch,accuracy\n0,0.5\n"
    tracker.close()


def test_a_folder_that_takes_no_file_is_named_before_the_first_epoch(tmp_path, model, caplog):
    writer = CSVWriter(tmp_path / ("x" * 300 + ".csv"))
    tracker = SaturationTracker(tmp_path, writer, model)
    assert "writer 'CSVWriter' failed at epoch 0: OSError: [Errno 36] File name too" in caplog.text
    tracker.close()
    assert [path.name for path in tmp_path.iterdir() if path.suffix not in (".jsonl", "")] == []


@pytest.mark.parametrize("first", [0, 5], ids=["new", "resumed with nothing below"])
def test_no_table_is_left_of_what_is_void(tmp_path, model, first):
    train(tmp_path, model, range(5, 7), initial_epoch=5).close()
    SaturationTracker(tmp_path, "csv", model, initial_epoch=first).close()
    assert not (tmp_path / "metrics.csv").exists()


def test_a_table_of_an_earlier_version_gets_its_numbers_spelt_anew(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,train-saturation/0,a\n0,0.5,nan\n1,,inf\n")
    writer = CSVWriter(tmp_path)
    writer.resume_from_saved_state(2, run_info(tmp_path, 2))
    text = "epoch,train-saturation/0,a\n0,0.5,NaN\n1,,inf\n"
    assert (tmp_path / "metrics.csv").read_text() == text


@pytest.mark.parametrize("length", [100_000, 100_001, 200_000])
def test_a_name_is_stored_or_refused_and_costs_no_other(tmp_path, length):
    """Python's csv reads cells of up to 131,072 characters."""
    writer = CSVWriter(tmp_path)
    writer.start(run_info(tmp_path))
    writer.add_scalar("a", 1.0)
    name = "x" * length
    if length > 100_000:
        with pytest.raises(RejectedError) as refused:
            writer.add_scalar(name, 2.0)
        assert refused.value.items == (name,)
        metrics = {Metric("train", "saturation", name): 0.5, Metric("eval", "saturation", "b"): 1.0}
        with pytest.raises(RejectedError) as refused:
            writer.add_scalars(metrics)
        assert refused.value.items == tuple(metrics)[:1]
    else:
        writer.add_scalar(name, 2.0)
    writer.save(0)
    writer.add_scalar("late", 3.0)
    writer.save(1)
    assert [epoch for epoch, _ in writer._rows()] == [0, 1]


def test_an_interrupt_after_the_table_was_replaced_loses_no_row(tmp_path, model, monkeypatch):
    tracker = train(tmp_path, model, range(3))
    whole = csv_writer.replacing

    @contextlib.contextmanager
    def interrupted(path):
        with whole(path) as file:
            yield file
        monkeypatch.setattr(csv_writer, "replacing", whole)
        raise KeyboardInterrupt

    monkeypatch.setattr(csv_writer, "replacing", interrupted)
    tracker.add_scalar("new", 1.0)
    with pytest.raises(KeyboardInterrupt):
        tracker.save()
    for epoch in (4, 5):
        tracker.add_scalar("accuracy", epoch)
        tracker.save()
    tracker.close()
    assert_same_as_journal(tmp_path)
    assert [path.name for path in tmp_path.glob("*.csv")] == ["metrics.csv"]


def test_a_last_row_that_fails_once_is_not_lost(tmp_path, model, monkeypatch):
    """What ``close`` saves is tried a second time by then."""
    tracker = train(tmp_path, model, range(2))
    failures = iter([OSError(28, "No space left on device")])
    whole = csv_writer.open_plain

    def failing(path, flags):
        for failure in failures:
            raise failure
        return whole(path, flags)

    monkeypatch.setattr(csv_writer, "open_plain", failing)
    tracker.add_scalar("accuracy", 0.5)
    tracker.close()
    assert list(table(tmp_path)["epoch"]) == [0, 1, 2]
    assert_same_as_journal(tmp_path)


def test_steps_are_whole_numbers_behind_the_epochs(tmp_path):
    with SaturationTracker(tmp_path, "csv", nn.Linear(2, 2)) as tracker:
        for step in (100, 250, 400):
            tracker.add_scalar("loss", 1 / step)
            tracker.save(step=step)
    with SaturationTracker(tmp_path, "csv", nn.Linear(2, 2), initial_step=399) as tracker:
        tracker.add_scalar("late", float("nan"))
        tracker.add_scalar("loss", 2.0)
        tracker.save(step=401)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == [
        "epoch,step,loss,late",
        "0,100,0.01,",
        "1,250,0.004,",
        "2,401,2.0,NaN",
    ]


def test_a_scalar_that_users_call_step_is_no_training_step(tmp_path):
    with SaturationTracker(tmp_path, "csv", nn.Linear(2, 2)) as tracker:
        for step in range(2):
            tracker.add_scalar("step", step)
            tracker.save()
    run = RunInfo(tmp_path, "id", 0, state={"file": "metrics.csv"})
    held = list(CSVWriter(tmp_path).held_epochs(run))
    assert [(one.step, one.values) for one in held] == [
        (None, {"step": 0.0}),
        (None, {"step": 1.0}),
    ]
