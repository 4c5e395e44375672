"""A W&B run that the user has started: shared, never finished, its steps left alone."""

import logging

import pytest
import wandb
from support.recorded_runs import journal_rows, record
from support.wandb_files import read_run_file, recorded_id, run_files
from support.wandb_users_run import delves_rows, record_in_users_run, users_run
from torch import nn

from delve import SaturationTracker


@pytest.fixture(autouse=True)
def _warnings_alone(caplog):
    caplog.set_level(logging.WARNING)


def test_it_is_used_and_never_finished(tmp_path):
    with users_run(tmp_path, config={"batch": 8, "lr": 1}) as mine:
        mine.log({"loss": 1.0})
        record(tmp_path / "run", "wandb", range(3), config={"lr": 0.1})
        assert wandb.run is mine
        mine.log({"loss": 2.0})
    wandb.teardown()  # only then W&B's file is complete
    (file,) = run_files(tmp_path / "mine")
    contents = read_run_file(file)
    assert [contents.rows[step].get("loss") for step in range(5)] == [1, None, None, None, 2]
    assert delves_rows(contents.rows.values()) == journal_rows(tmp_path / "run")
    assert contents.config["batch"] == 8
    assert contents.config["lr"] == 0.1
    assert contents.step_metrics["train-saturation/0"] == "epoch"
    assert contents.step_metrics["accuracy"] == "epoch"
    assert "loss" not in contents.step_metrics
    assert not run_files(tmp_path / "run")


def test_going_on_in_it_adds_what_is_new(tmp_path, server):
    record_in_users_run(tmp_path, range(3))
    record_in_users_run(tmp_path, range(3, 5), resume="must")
    assert delves_rows(server.runs["mine"].rows) == journal_rows(tmp_path / "run")


def test_resuming_below_its_last_epoch_keeps_both_and_says_so_once(tmp_path, server, caplog):
    record_in_users_run(tmp_path, range(4))
    record_in_users_run(tmp_path, range(2, 4), resume="must")
    rows = server.runs["mine"].rows
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 2, 3]
    last = {row["epoch"]: row for row in rows}
    assert delves_rows(last.values()) == journal_rows(tmp_path / "run")
    assert caplog.text.count("W&B cannot drop rows") == 1


def test_another_run_of_the_users_gets_all_epochs(tmp_path, server, caplog):
    record(tmp_path / "run", "wandb", range(3))
    before = recorded_id(tmp_path / "run")
    record_in_users_run(tmp_path, range(3, 5))
    assert delves_rows(server.runs["mine"].rows) == journal_rows(tmp_path / "run")
    assert f"the earlier epochs are in W&B run {before}" in caplog.text


def test_without_it_a_resumed_run_gets_one_of_its_own(tmp_path, server):
    record_in_users_run(tmp_path, range(3))
    record(tmp_path / "run", "wandb", range(3, 5))
    own = server.runs[recorded_id(tmp_path / "run")]
    assert own.name != "mine"
    assert delves_rows(own.rows) == journal_rows(tmp_path / "run")


def test_a_run_that_is_opened_too_late_loses_nothing(tmp_path, caplog):
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2)) as tracker:
        tracker.add_scalar("loss", 0.5)
        tracker.save()
        late = wandb.init()  # W&B returns the run that Delve has started
        late.log({"mine": 1.0})
        late.log({"mine": 2.0})
        for loss in (0.25, 0.125):
            tracker.add_scalar("loss", loss)
            tracker.save()
    late.finish()
    wandb.teardown()
    (file,) = run_files(tmp_path)
    rows = read_run_file(file).rows.values()
    assert delves_rows(row for row in rows if "mine" not in row) == journal_rows(tmp_path)
    assert [row["mine"] for row in rows if "mine" in row] == [1, 2]
    assert caplog.text.count("call wandb.init() before the tracker") == 1


def test_a_run_that_variables_name_is_continued_beside_its_rows(tmp_path, server, monkeypatch):
    with users_run(tmp_path) as mine:
        mine.log({"loss": 1.0})
    wandb.teardown()  # W&B reads its variables once in a session
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    monkeypatch.setenv("WANDB_RESUME", "allow")
    record(tmp_path / "run", "wandb", range(2))
    assert server.runs["mine"].rows[0]["loss"] == 1.0
    assert delves_rows(server.runs["mine"].rows) == journal_rows(tmp_path / "run")
    assert server.runs["mine"].state == "finished"


def test_two_trackers_have_a_run_each(tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    trackers = [SaturationTracker(folder, "wandb", nn.Linear(2, 2)) for folder in folders]
    for value, tracker in enumerate(trackers):
        tracker.add_scalar("loss", float(value))
        tracker.save()
    for tracker in trackers:
        tracker.close()
    for folder in folders:
        (file,) = run_files(folder)
        contents = read_run_file(file)
        assert delves_rows(contents.rows.values()) == journal_rows(folder)
        assert contents.exit_code == 0
