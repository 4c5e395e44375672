"""Runs of a real tracker, read back from the server or the files and compared with the journal."""

import logging
import subprocess
import sys

import pytest
from support.recorded_runs import journal_rows, record, record_and_die
from support.wandb_files import (
    journal_entries,
    read_run_file,
    recorded_id,
    run_files,
    unsynced_rows,
)
from support.wandb_server import WandbServer
from torch import nn

from delve import SaturationTracker


@pytest.fixture(autouse=True)
def _warnings_alone(caplog):
    caplog.set_level(logging.WARNING)


def resumed_after_a_normal_end(folder):
    record(folder, "wandb", range(5))
    record(folder, "wandb", range(5, 7))


def resumed_after_sigkill_in_the_middle_of_an_epoch(folder):
    record_and_die(folder, "wandb", range(4))
    record(folder, "wandb", range(3, 6))


def resumed_after_sigkill_between_journal_and_writer(folder):
    record_and_die(folder, "wandb", range(2), where="before-writer")
    record(folder, "wandb", range(3, 5))


def resumed_twice_at_once(folder):
    record(folder, "wandb", range(5))
    record(folder, "wandb", range(3, 6))
    record(folder, "wandb", range(4, 7))


def resumed_below_everything(folder):
    record(folder, "wandb", range(4, 8))
    record(folder, "wandb", range(1, 3))


def new_over_an_old_run(folder):
    record(folder, "wandb", range(7))
    record(folder, "wandb", range(2))


def chosen_late(folder):
    record(folder, "print", range(4))
    record(folder, "wandb", range(4, 6))


HISTORIES = [
    resumed_after_a_normal_end,
    resumed_twice_at_once,
    resumed_below_everything,
    new_over_an_old_run,
    chosen_late,
]
KILLED_ONLINE = [resumed_after_sigkill_between_journal_and_writer]
KILLED_OFFLINE = [resumed_after_sigkill_in_the_middle_of_an_epoch]


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


def sync(folder):
    """`wandb sync` of the folder, which W&B does not start in a run's own process."""
    command = [sys.executable, "-m", "wandb", "sync", "--yes", str(folder / "wandb")]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("history", [*HISTORIES, *KILLED_ONLINE])
def test_online_the_server_holds_what_the_journal_holds(tmp_path, server, history):
    history(tmp_path)
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


@pytest.mark.parametrize("history", [*HISTORIES, *KILLED_OFFLINE])
def test_offline_what_is_to_be_synced_is_what_the_journal_holds(tmp_path, history):
    history(tmp_path)
    assert by_epoch(unsynced_rows(tmp_path)) == journal_rows(tmp_path)


def test_sync_sends_a_resumed_offline_run_once(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    resumed_below_everything(tmp_path)
    sync(tmp_path)
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)
    assert len(server.runs) == 1


def test_an_offline_run_that_was_synced_is_cut_back_by_the_next_sync(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    record(tmp_path, "wandb", range(5))
    sync(tmp_path)
    record(tmp_path, "wandb", range(3, 6))
    record(tmp_path, "wandb", range(5, 8))
    sync(tmp_path)
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_a_run_that_goes_on_offline_is_cut_back_by_the_next_sync(tmp_path, server, monkeypatch):
    record(tmp_path, "wandb", range(5))
    monkeypatch.setenv("WANDB_MODE", "offline")
    record(tmp_path, "wandb", range(3, 6))
    sync(tmp_path)
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_an_offline_run_that_goes_on_online_needs_no_sync(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    record(tmp_path, "wandb", range(4))
    monkeypatch.setenv("WANDB_MODE", "online")
    record(tmp_path, "wandb", range(3, 6))
    sync(tmp_path)
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_a_server_that_cannot_rewind_keeps_its_values_and_says_so(tmp_path, server, caplog):
    server.rewind = "no"
    record(tmp_path, "wandb", range(5))
    before = journal_rows(tmp_path)
    record(tmp_path, "wandb", range(3, 8))
    after = journal_rows(tmp_path)
    expected = {epoch: (before if epoch < 5 else after)[epoch] for epoch in range(8)}
    assert rows_of(server, tmp_path) == expected
    assert before[4] != after[4]
    warnings = [r.message for r in caplog.records if r.name.startswith("delve")]
    assert len(warnings) == 1
    assert "keeps what was recorded for epochs 3 to 4" in warnings[0]


def test_the_same_run_goes_on_in_the_same_project(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "first")
    record(tmp_path, "wandb", range(2))
    monkeypatch.delenv("WANDB_PROJECT")
    record(tmp_path, "wandb", range(2, 4))
    assert [run.project for run in server.runs.values()] == ["first"]


def test_a_variable_that_tells_wandb_how_to_resume_does_no_harm(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_RESUME", "allow")
    resumed_below_everything(tmp_path)
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_config_is_merged_and_may_change(tmp_path, server):
    record(tmp_path, "wandb", range(1), config={"lr": 0.1, "net": {"width": 64}})
    record(tmp_path, "wandb", range(1, 2), config={"lr": 0.2, "seed": 3})
    config = server.runs[recorded_id(tmp_path)].config
    values = {key: entry["value"] for key, entry in config.items() if key != "_wandb"}
    assert values == {"lr": 0.2, "net": {"width": 64}, "seed": 3}


def test_options_reach_the_run_and_charts_go_by_epoch(tmp_path, server):
    options = {"project": "p", "name": "n", "group": "g", "tags": ["a", "b"]}
    record(tmp_path, "wandb", range(1), writer_args=options)
    run = server.runs[recorded_id(tmp_path)]
    assert (run.project, run.display_name, run.group, run.tags) == ("p", "n", "g", ["a", "b"])
    (file,) = run_files(tmp_path)
    assert read_run_file(file).step_metrics == {"*": "epoch"}


def test_an_epoch_keeps_the_time_of_its_recording(tmp_path, server):
    record(tmp_path, "print", range(2))
    record(tmp_path, "wandb", range(2, 3))
    sent = [row["_timestamp"] for row in server.runs[recorded_id(tmp_path)].rows]
    epochs = [entry for entry in journal_entries(tmp_path) if entry["type"] == "epoch"]
    assert sent == pytest.approx([entry["time"] / 1000 for entry in epochs], rel=1e-12)


def test_a_run_that_ends_by_an_exception_is_marked_as_failed(tmp_path, server):
    def train():
        with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2)) as tracker:
            tracker.add_scalar("loss", 1.0)
            tracker.save()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        train()
    assert server.runs[recorded_id(tmp_path)].state == "failed"
    record(tmp_path / "b", "wandb", range(1))
    assert server.runs[recorded_id(tmp_path / "b")].state == "finished"


def test_disabled_wandb_leaves_the_run_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    record(tmp_path, "wandb", range(2))
    record(tmp_path, "wandb", range(1, 3))
    assert not run_files(tmp_path)


def test_a_name_that_wandb_keeps_for_itself_is_not_sent(tmp_path, caplog):
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2)) as tracker:
        tracker.add_scalar("_step", 7)
        tracker.add_scalar("loss*", 1.0)
        tracker.save()
    assert by_epoch(unsynced_rows(tmp_path)) == {0: {"loss*": 1.0}}
    assert "'_step'" in caplog.text
