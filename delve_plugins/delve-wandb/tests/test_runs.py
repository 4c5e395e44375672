"""Runs of a real tracker, read back from the server or the files and compared with the journal."""

import logging
import os
import shutil
import time

import pytest
import wandb
from delve_wandb.identity import MARK
from torch import nn
from wandb_files import (
    journal_entries,
    read_run_file,
    recorded_id,
    run_files,
    sync,
    unsynced_rows,
)
from wandb_server import WandbServer

from delve import SaturationTracker
from delve.testing import HISTORIES, journal_rows, train, train_and_die
from delve.testing.histories import resumed_below_everything


@pytest.fixture(autouse=True)
def _warnings_alone(caplog):
    caplog.set_level(logging.WARNING)


def rows_of(server: WandbServer, folder):
    """By step, without the keys that W&B adds, and with the epoch in its place."""
    rows = {}
    for row in server.runs[recorded_id(folder)].rows:
        assert row["_step"] not in rows
        rows[row["_step"]] = {key: value for key, value in row.items() if not key.startswith("_")}
    return by_epoch(rows)


def by_epoch(rows):
    assert [row.pop("epoch") for row in rows.values()] == list(rows)
    return rows


@pytest.mark.parametrize("history", HISTORIES)
def test_online_the_server_holds_what_the_journal_holds(tmp_path, server, history):
    history(tmp_path, "wandb")
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


@pytest.mark.parametrize("history", HISTORIES)
def test_offline_what_is_to_be_synced_is_what_the_journal_holds(tmp_path, history):
    history(tmp_path, "wandb")
    assert by_epoch(unsynced_rows(tmp_path)) == journal_rows(tmp_path)


def test_sync_sends_a_resumed_offline_run_once(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    resumed_below_everything(tmp_path, "wandb")
    sync(tmp_path / "wandb")
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)
    assert len(server.runs) == 1


def test_an_offline_run_that_was_synced_is_cut_back_by_the_next_sync(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path, "wandb", range(5))
    sync(tmp_path / "wandb")
    train(tmp_path, "wandb", range(3, 6))
    train(tmp_path, "wandb", range(5, 8))
    sync(tmp_path / "wandb")
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_offline_files_that_were_synced_and_deleted_leave_no_row_twice(
    tmp_path, server, monkeypatch, caplog
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path, "wandb", range(5))
    sync(tmp_path / "wandb")
    shutil.rmtree(tmp_path / "wandb")
    train(tmp_path, "wandb", range(5, 6))
    train(tmp_path, "wandb", range(6, 8))
    sync(tmp_path / "wandb")
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)
    assert caplog.text.count(f"local files of W&B run {recorded_id(tmp_path)} are gone") == 1


def test_offline_files_that_were_deleted_unsynced_come_with_a_run_that_goes_on_online(
    tmp_path, server, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path, "wandb", range(5))
    shutil.rmtree(tmp_path / "wandb")
    train(tmp_path, "wandb", range(5, 6))
    monkeypatch.setenv("WANDB_MODE", "online")
    train(tmp_path, "wandb", range(6, 8))
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_superseded_files_are_not_missed(tmp_path, server, monkeypatch, delves_warnings):
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path, "wandb", range(5))
    train(tmp_path, "wandb", range(5, 6))
    for file in run_files(tmp_path):
        if file.with_name(f"{file.name}.synced").exists():  # as `wandb sync --clean` does
            shutil.rmtree(file.parent)
    train(tmp_path, "wandb", range(6, 8))
    sync(tmp_path / "wandb")
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)
    assert not delves_warnings()


def test_a_segment_stays_to_be_synced_while_the_new_one_is_not_on_disk(
    tmp_path, server, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path, "wandb", range(4))
    before = journal_rows(tmp_path)
    monkeypatch.setenv("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", "0")  # not before the end
    train_and_die(tmp_path, "wandb", range(4, 7))
    sync(run_files(tmp_path)[0].parent)
    assert rows_of(server, tmp_path) == before


def test_a_segment_is_retired_as_soon_as_the_new_one_is_on_disk(tmp_path):
    train(tmp_path, "wandb", range(4))
    (old,) = run_files(tmp_path)
    mark = old.with_name(f"{old.name}.synced")
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2), initial_epoch=4) as tracker:
        end = time.monotonic() + 20
        while not mark.exists() and time.monotonic() < end:
            tracker.add_scalar("loss", 1.0)
            tracker.save()
            time.sleep(0.05)
        assert mark.exists()
        assert read_run_file(run_files(tmp_path)[-1]).rows.keys() >= {0, 1, 2, 3}
    assert by_epoch(unsynced_rows(tmp_path)) == journal_rows(tmp_path)


def test_a_run_that_goes_on_offline_is_cut_back_by_the_next_sync(tmp_path, server, monkeypatch):
    train(tmp_path, "wandb", range(5))
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path, "wandb", range(3, 6))
    sync(tmp_path / "wandb")
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_an_offline_run_that_goes_on_online_needs_no_sync(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path, "wandb", range(4))
    monkeypatch.setenv("WANDB_MODE", "online")
    train(tmp_path, "wandb", range(3, 6))
    sync(tmp_path / "wandb")
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_a_server_that_cannot_rewind_keeps_its_values_and_says_so(
    tmp_path, server, delves_warnings
):
    server.rewind = "no"
    train(tmp_path, "wandb", range(5))
    before = journal_rows(tmp_path)
    train(tmp_path, "wandb", range(3, 8))
    after = journal_rows(tmp_path)
    expected = {epoch: (before if epoch < 5 else after)[epoch] for epoch in range(8)}
    assert rows_of(server, tmp_path) == expected
    assert before[4] != after[4]
    (warning,) = delves_warnings()
    assert "keeps what was recorded for epochs 3 to 4" in warning


def test_the_same_run_goes_on_in_the_same_project(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "first")
    train(tmp_path, "wandb", range(2))
    monkeypatch.delenv("WANDB_PROJECT")
    train(tmp_path, "wandb", range(2, 4))
    assert [run.project for run in server.runs.values()] == ["first"]


def test_a_variable_that_tells_wandb_how_to_resume_does_no_harm(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_RESUME", "allow")
    resumed_below_everything(tmp_path, "wandb")
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_config_is_merged_and_may_change(tmp_path, server):
    train(tmp_path, "wandb", range(1), config={"lr": 0.1, "net": {"width": 64}})
    train(tmp_path, "wandb", range(1, 2), config={"lr": 0.2, "seed": 3})
    config = server.runs[recorded_id(tmp_path)].config
    values = {key: entry["value"] for key, entry in config.items() if key[0] != "_" and key != MARK}
    assert values == {"lr": 0.2, "net": {"width": 64}, "seed": 3}


def test_options_reach_the_run_and_charts_go_by_epoch(tmp_path, server):
    options = {"project": "p", "name": "n", "group": "g", "tags": ["a", "b"]}
    train(tmp_path, "wandb", range(1), writer_args=options)
    run = server.runs[recorded_id(tmp_path)]
    assert (run.project, run.display_name, run.group, run.tags) == ("p", "n", "g", ["a", "b"])
    (file,) = run_files(tmp_path)
    assert read_run_file(file).step_metrics == {"*": "epoch"}


def test_charts_of_a_run_of_steps_go_by_them(tmp_path, server):
    net = nn.Linear(2, 2)
    with SaturationTracker(tmp_path, "wandb", net) as tracker:
        for step in (100, 250):
            tracker.add_scalar("loss", 1 / step)
            tracker.save(step=step)
    with SaturationTracker(tmp_path, "wandb", net, initial_step=120) as tracker:
        tracker.add_scalar("loss", 0.5)
        tracker.save(step=200)
    rows = server.runs[recorded_id(tmp_path)].rows
    shown = [(row["_step"], row["epoch"], row["step"], row["loss"]) for row in rows]
    assert shown == [(0, 0, 100, 0.01), (1, 1, 200, 0.5)]
    told = [read_run_file(file).step_metrics for file in run_files(tmp_path)]
    assert [axes for axes in told if axes] == [{"*": "step"}] * 2


def test_an_epoch_keeps_the_time_of_its_recording(tmp_path, server):
    train(tmp_path, "print", range(2))
    train(tmp_path, "wandb", range(2, 3))
    sent = [row["_timestamp"] for row in server.runs[recorded_id(tmp_path)].rows]
    epochs = [entry for entry in journal_entries(tmp_path) if entry["type"] == "epoch"]
    assert sent == pytest.approx([entry["time"] / 1000 for entry in epochs], rel=1e-12)


def test_a_run_that_ends_by_an_exception_is_marked_as_failed(tmp_path, server):
    def diverge():
        with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2)) as tracker:
            tracker.add_scalar("loss", 1.0)
            tracker.save()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        diverge()
    assert server.runs[recorded_id(tmp_path)].state == "failed"
    train(tmp_path / "b", "wandb", range(1))
    assert server.runs[recorded_id(tmp_path / "b")].state == "finished"


def test_disabled_wandb_leaves_the_run_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    train(tmp_path, "wandb", range(2))
    train(tmp_path, "wandb", range(1, 3))
    assert not run_files(tmp_path)


def test_disabled_wandb_takes_no_part_of_the_run(tmp_path, server, monkeypatch):
    for mode, epochs in (("offline", range(3)), ("disabled", range(3, 5)), ("offline", [5])):
        monkeypatch.setenv("WANDB_MODE", mode)
        train(tmp_path, "wandb", epochs)
        wandb.teardown()  # W&B reads its variables once in a session
    sync(tmp_path / "wandb")
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_what_a_torn_file_lacks_is_logged_again_also_where_the_journal_has_gaps(
    tmp_path, monkeypatch
):
    """A power cut took a line of the journal, and the end of W&B's file."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path, "wandb", range(8))
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    (place,) = [at for at, line in enumerate(lines) if b'"epoch", "epoch": 6' in line]
    lines[place] = bytes(len(lines[place]) - 1) + b"\n"
    journal.write_bytes(b"".join(lines))
    (file,) = run_files(tmp_path)
    while 5 in read_run_file(file).rows:
        os.truncate(file, file.stat().st_size - 50)
    assert 4 in read_run_file(file).rows
    train(tmp_path, "wandb", range(8, 9))
    rows = journal_rows(tmp_path, damaged=True)
    assert sorted(rows) == [0, 1, 2, 3, 4, 5, 7, 8]
    held = unsynced_rows(tmp_path)
    assert {step: row["accuracy"] for step, row in held.items()} == {
        epoch: row["accuracy"] for epoch, row in rows.items()
    }
