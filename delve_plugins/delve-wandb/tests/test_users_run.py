"""A W&B run that the user has started: shared, never finished, its steps left alone."""

import logging

import pytest
import wandb
from torch import nn
from wandb_files import read_run_file, recorded_id, run_files
from wandb_users_run import delves_rows, record_in_users_run, users_run

from delve import SaturationTracker
from delve.testing import journal_rows, train
from delve.tracker import forget_earlier_runs, name_earlier_runs


@pytest.fixture(autouse=True)
def _warnings_alone(caplog):
    caplog.set_level(logging.WARNING)


def test_it_is_used_and_never_finished(tmp_path):
    with users_run(tmp_path, config={"batch": 8, "lr": 1}) as mine:
        mine.log({"loss": 1.0})
        train(tmp_path / "run", "wandb", range(3), config={"lr": 0.1, "seed": 3})
        assert wandb.run is mine
        mine.log({"loss": 2.0})
        mine.log({"loss": 3.0})
    wandb.teardown()  # only then W&B's file is complete
    (file,) = run_files(tmp_path / "mine")
    contents = read_run_file(file)
    assert [row.get("loss") for row in contents.rows.values()] == [1, 2, 3, None, None]
    assert delves_rows(contents.rows.values(), but=["loss"]) == journal_rows(tmp_path / "run")
    assert contents.config == {"batch": 8, "lr": 1, "seed": 3, "_wandb": {}}
    assert contents.step_metrics["train-saturation/0"] == "delve/epoch"
    assert contents.step_metrics["accuracy"] == "delve/epoch"
    assert "loss" not in contents.step_metrics
    assert not run_files(tmp_path / "run")


def test_rows_of_steps_are_shown_by_delves_own_step(tmp_path):
    with users_run(tmp_path) as mine:
        with SaturationTracker(tmp_path / "run", "wandb", nn.Linear(2, 2)) as tracker:
            for step in (100, 250):
                tracker.add_scalar("accuracy", 1 / step)
                tracker.save(step=step)
                mine.log({"loss": 1.0})
        mine.log({"step": 7})  # a key of the user's own
    wandb.teardown()
    (file,) = run_files(tmp_path / "mine")
    contents = read_run_file(file)
    rows = [row for row in contents.rows.values() if "accuracy" in row]
    shown = [(row["delve/epoch"], row["delve/step"], row["accuracy"]) for row in rows]
    assert shown == [(0, 100, 0.01), (1, 250, 0.004)]
    assert contents.step_metrics["accuracy"] == "delve/step"


def test_going_on_in_it_adds_what_is_new(tmp_path, server):
    record_in_users_run(tmp_path, range(3))
    record_in_users_run(tmp_path, range(3, 5), resume="must")
    assert delves_rows(server.runs["mine"].rows) == journal_rows(tmp_path / "run")


def test_resuming_below_its_last_epoch_keeps_both_and_says_so_once(tmp_path, server, caplog):
    record_in_users_run(tmp_path, range(4))
    record_in_users_run(tmp_path, range(2, 4), resume="must")
    rows = server.runs["mine"].rows
    assert [row["delve/epoch"] for row in rows] == [0, 1, 2, 3, 2, 3]
    assert [row.get("delve/attempt") for row in rows] == [None] * 4 + [1, 1]
    last = {row["delve/epoch"]: row for row in rows}
    assert delves_rows(last.values()) == journal_rows(tmp_path / "run")
    assert caplog.text.count("W&B cannot drop rows") == 1


def test_another_run_of_the_users_gets_all_epochs(tmp_path, server, caplog):
    train(tmp_path / "run", "wandb", range(3))
    before = recorded_id(tmp_path / "run")
    record_in_users_run(tmp_path, range(3, 5))
    assert delves_rows(server.runs["mine"].rows) == journal_rows(tmp_path / "run")
    assert f"the earlier epochs are in W&B run {before}" in caplog.text


def test_without_it_a_resumed_run_gets_one_of_its_own(tmp_path, server):
    record_in_users_run(tmp_path, range(3))
    train(tmp_path / "run", "wandb", range(3, 5))
    own = server.runs[recorded_id(tmp_path / "run")]
    assert own.name != "mine"
    assert delves_rows(own.rows, axis="epoch") == journal_rows(tmp_path / "run")


def test_a_run_that_variables_name_is_continued_beside_its_rows(tmp_path, server, monkeypatch):
    with users_run(tmp_path) as mine:
        mine.log({"loss": 1.0})
    wandb.teardown()  # W&B reads its variables once in a session
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    monkeypatch.setenv("WANDB_RESUME", "allow")
    train(tmp_path / "run", "wandb", range(2))
    assert server.runs["mine"].rows[0]["loss"] == 1.0
    rows = server.runs["mine"].rows
    assert delves_rows(rows, but=["loss"]) == journal_rows(tmp_path / "run")
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
        assert delves_rows(contents.rows.values(), axis="epoch") == journal_rows(folder)
        assert contents.exit_code == 0


@pytest.mark.parametrize("is_online", [False, True])
def test_a_run_of_delves_that_takes_the_place_of_another_is_marked(tmp_path, request, is_online):
    """As where a training goes on from a checkpoint of before its first row, and once more."""
    server = request.getfixturevalue("server") if is_online else None
    for epochs in (range(2), range(3), range(3)):
        record_in_users_run(tmp_path, epochs, resume="allow")
    record_in_users_run(tmp_path, range(3, 4), resume="allow")
    if server is not None:
        rows = server.runs["mine"].rows
    else:
        files = run_files(tmp_path / "mine")
        rows = [row for file in files for row in read_run_file(file).rows.values()]
    rows = [row for row in rows if "delve/epoch" in row]
    marks = [(row["delve/epoch"], row.get("delve/attempt")) for row in rows]
    assert marks == [
        (epoch, mark) for mark, last in ((None, 2), (1, 3), (2, 4)) for epoch in range(last)
    ]
    assert delves_rows(rows[-4:]) == journal_rows(tmp_path / "run")


def test_an_earlier_run_is_found_though_wandb_has_read_its_variables(tmp_path):
    with users_run(tmp_path) as mine:
        train(tmp_path / "run", "wandb", range(2))
        theirs = mine.id
    named = name_earlier_runs(tmp_path / "run")
    assert named == {"WANDB_RUN_ID": theirs, "WANDB_RESUME": "allow"}
    with wandb.init(dir=tmp_path) as again:
        assert again.id == theirs
        assert again.settings.resume == "allow"
    forget_earlier_runs(named)
    with wandb.init(dir=tmp_path) as other:
        assert other.id != theirs
    wandb.teardown()
