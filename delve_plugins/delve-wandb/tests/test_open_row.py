"""A run of the user's: their rows and steps stay theirs; each epoch of Delve's is there once."""

import logging
import os
import signal
import subprocess
import sys

import pytest
import torch
import wandb
from torch import nn
from wandb_files import read_run_file, recorded_id, run_files
from wandb_users_run import delves_rows, record_in_users_run, users_rows, users_run

from delve import SaturationTracker
from delve.testing import journal_rows

NAMES = ["loss", "late", "epoch", "accuracy"]


@pytest.fixture(autouse=True)
def _warnings_alone(caplog):
    caplog.set_level(logging.WARNING)


def tracked(tmp_path, folder="run", **options):
    return SaturationTracker(tmp_path / folder, "wandb", nn.Linear(2, 2), **options)


def save(tracker, *epochs):
    for epoch in epochs:
        tracker.add_scalar("score", epoch / 8)
        tracker.save()


def stored(tmp_path):
    """The rows of the user's run, by step."""
    (file,) = run_files(tmp_path / "mine")
    return read_run_file(file).rows


def assert_epochs_once(rows, tmp_path, folder="run", **how):
    assert delves_rows(rows.values(), but=NAMES, **how) == journal_rows(tmp_path / folder)


def test_a_step_that_the_user_gives_before_and_after_keeps_all_its_values(tmp_path):
    with users_run(tmp_path), tracked(tmp_path) as tracker:
        for step in (0, 10, 20):
            wandb.log({"loss": float(step)}, step=step)
            save(tracker, step)
            wandb.log({"late": -float(step)}, step=step)
    wandb.teardown()
    rows = stored(tmp_path)
    expected = [{"loss": float(step), "late": -float(step)} for step in (0, 10, 20)]
    assert users_rows(rows.values(), *NAMES) == expected
    assert list(rows) == [0, 10, 20]
    assert_epochs_once(rows, tmp_path)


def test_delve_first_takes_no_step_from_the_user(tmp_path):
    with users_run(tmp_path), tracked(tmp_path) as tracker:
        save(tracker, 0, 1, 2)
        wandb.log({"loss": 0.0}, step=0)
        save(tracker, 3)
        wandb.log({"loss": 1.0}, step=1)
        wandb.log({"loss": 2.0}, step=2)
    wandb.teardown()
    rows = stored(tmp_path)
    assert [rows[step]["loss"] for step in range(3)] == [0.0, 1.0, 2.0]
    assert_epochs_once(rows, tmp_path)


def test_a_row_that_the_user_has_left_open_stays_open(tmp_path):
    with users_run(tmp_path), tracked(tmp_path) as tracker:
        wandb.log({"loss": 0.5}, commit=False)
        save(tracker, 0)
        wandb.log({"late": 0.25})
        wandb.log({"loss": 0.125}, commit=False)
        save(tracker, 1, 2)
        wandb.log({"late": 0.0625})
    wandb.teardown()
    rows = stored(tmp_path)
    assert users_rows(rows.values(), *NAMES) == [
        {"loss": 0.5, "late": 0.25},
        {"loss": 0.125, "late": 0.0625},
    ]
    assert_epochs_once(rows, tmp_path)


def test_what_is_logged_once_the_tracker_is_closed_keeps_its_step(tmp_path):
    with users_run(tmp_path):
        with tracked(tmp_path) as tracker:
            wandb.log({"loss": 1.0}, step=100)
            save(tracker, 0, 1, 2)
        wandb.log({"late": 2.0}, step=100)
    wandb.teardown()
    rows = stored(tmp_path)
    assert users_rows(rows.values(), *NAMES) == [{"loss": 1.0, "late": 2.0}]
    assert_epochs_once(rows, tmp_path)


def test_rows_without_a_step_stay_the_users(tmp_path):
    with users_run(tmp_path), tracked(tmp_path) as tracker:
        for epoch in range(4):
            for part in range(3):
                wandb.log({"loss": epoch + part / 4})
            save(tracker, epoch)
    wandb.teardown()
    rows = stored(tmp_path)
    losses = [epoch + part / 4 for epoch in range(4) for part in range(3)]
    assert [rows[step]["loss"] for step in range(12)] == losses
    assert_epochs_once(rows, tmp_path)


def test_a_run_that_nobody_else_logs_to_gets_all_epochs_when_it_finishes(tmp_path, caplog):
    with users_run(tmp_path):
        tracker = tracked(tmp_path)
        save(tracker, *range(5))
        tracker.close()
    wandb.teardown()
    assert_epochs_once(stored(tmp_path), tmp_path)
    assert caplog.text.count("are sent when the run finishes") == 1


def test_with_commit_each_epoch_is_sent_at_once(tmp_path):
    with users_run(tmp_path) as mine:
        with tracked(tmp_path, writer_args={"commit": True}) as tracker:
            save(tracker, *range(4))
            assert mine.step == 4
        mine.log({"loss": 1.0})
    wandb.teardown()
    rows = stored(tmp_path)
    assert_epochs_once(rows, tmp_path)
    assert rows[4] == {"loss": 1.0}


def test_names_of_the_users_are_not_taken_for_delves(tmp_path, server):
    """The user's rows get no epoch of Delve's, even where both log the same name."""
    with users_run(tmp_path), tracked(tmp_path) as tracker:
        tracker.add_scalar("accuracy", 0.5)
        save(tracker, 0)
        for step in range(1, 4):
            wandb.log({"epoch": 7, "accuracy": step / 8}, step=step)
    wandb.teardown()
    rows = {row["_step"]: row for row in server.runs["mine"].rows}
    assert [step for step, row in rows.items() if "delve/epoch" in row] == [0]
    assert [rows[step]["accuracy"] for step in range(1, 4)] == [1 / 8, 2 / 8, 3 / 8]
    assert "epoch" not in rows[0]


def test_names_with_dots_are_defined_as_they_are(tmp_path):
    model = nn.Sequential()
    model.add_module("block", nn.Sequential(nn.Linear(2, 2)))
    with (
        users_run(tmp_path),
        SaturationTracker(tmp_path / "run", "wandb", model) as tracker,
    ):
        model(torch.randn(8, 2))
        tracker.add_saturations()
    wandb.teardown()
    (file,) = run_files(tmp_path / "mine")
    defined = read_run_file(file).step_metrics
    assert r"train-saturation/block\.0" in defined
    assert "train-saturation/block.0" in next(iter(stored(tmp_path).values()))


def test_folds_are_named_and_a_prefix_tells_them_apart(tmp_path, caplog):
    with users_run(tmp_path):
        for fold in range(2):
            options = {"writer_args": {"prefix": f"fold{fold}/"}}
            with tracked(tmp_path, f"run{fold}", **options) as tracker:
                for epoch in range(3):
                    save(tracker, epoch)
                    wandb.log({"loss": float(epoch)})
        assert "another run of Delve's" not in caplog.text
        with tracked(tmp_path, "run2", **options) as tracker:
            save(tracker, 0)
        assert caplog.text.count("another run of Delve's") == 1
        assert "prefix" in caplog.text
    wandb.teardown()
    rows = stored(tmp_path)
    assert_epochs_once(rows, tmp_path, "run0", prefix="fold0/")
    assert [row["loss"] for row in rows.values() if "loss" in row] == [0.0, 1.0, 2.0] * 2


def test_two_trackers_side_by_side_share_the_rows(tmp_path):
    with users_run(tmp_path):
        options = [{"writer_args": {"prefix": prefix}} for prefix in ("a/", "b/")]
        first, second = (
            tracked(tmp_path, folder, **how) for folder, how in zip("ab", options, strict=True)
        )
        for epoch in range(3):
            save(first, epoch)
            save(second, epoch)
            wandb.log({"loss": float(epoch)}, step=epoch)
        first.close()
        second.close()
    wandb.teardown()
    rows = stored(tmp_path)
    for folder in "ab":
        assert_epochs_once(rows, tmp_path, folder, prefix=f"{folder}/")


def test_a_prefix_holds_on_a_run_of_delves_own_too(tmp_path):
    with tracked(tmp_path, writer_args={"prefix": "a/"}) as tracker:
        save(tracker, 0)
    (file,) = run_files(tmp_path / "run")
    assert read_run_file(file).rows == {0: {"epoch": 0, "a/score": 0.0}}


def test_another_process_that_logs_into_the_same_run_is_named(tmp_path, server, caplog):
    record_in_users_run(tmp_path, range(2))
    with users_run(tmp_path, resume="must"), tracked(tmp_path, "other"):
        pass
    assert caplog.text.count("another run of Delve's") == 1


def test_a_run_of_the_users_that_ends_before_the_tracker_is_followed_by_one_of_delves(
    tmp_path, server, caplog
):
    with tracked_in_users_run(tmp_path) as tracker:
        save(tracker, 0, 1)
        wandb.finish()
        save(tracker, 2)
    mine = delves_rows(server.runs["mine"].rows)
    journal = journal_rows(tmp_path / "run")
    assert mine == {epoch: journal[epoch] for epoch in (0, 1)}
    own = server.runs[recorded_id(tmp_path / "run")]
    assert delves_rows(own.rows, axis="epoch") == journal


def tracked_in_users_run(tmp_path):
    users_run(tmp_path)
    return tracked(tmp_path)


SCRIPT = """
import os, sys, signal, wandb
from torch import nn
from delve import SaturationTracker
from wandb_users_run import users_run
from pathlib import Path
folder, first, last, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
users_run(Path(folder), resume="allow")
tracker = SaturationTracker(folder + "/run", "wandb", nn.Linear(2, 2), initial_epoch=first)
for epoch in range(first, last):
    wandb.log({"loss": float(epoch)})
    tracker.add_scalar("score", epoch / 8)
    tracker.save()
    if end == "kill" and epoch == last - 1:
        import time
        time.sleep(3)
        os.kill(os.getpid(), signal.SIGKILL)
tracker.add_scalar("score", 8.0)
tracker.save()
tracker.close()
"""


def run_script(tmp_path, first, last, end):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(first), str(last), end],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_script_that_never_finishes_its_run_loses_nothing(tmp_path):
    child = run_script(tmp_path, 0, 3, "end")
    assert child.returncode == 0, child.stderr
    rows = stored(tmp_path)
    assert_epochs_once(rows, tmp_path)
    assert users_rows(rows.values(), "loss") == [{"loss": float(n)} for n in range(3)]


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_after_a_kill_each_epoch_is_there_once(tmp_path, server, monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setenv("WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL", "1")  # no less
    child = run_script(tmp_path, 0, 4, "kill")
    assert child.returncode == -signal.SIGKILL, child.stderr
    if mode == "online":
        held = delves_rows(server.runs["mine"].rows, but=NAMES)
        assert 3 not in held  # its row was open
        assert held
    child = run_script(tmp_path, 4, 6, "end")
    assert child.returncode == 0, child.stderr
    files = run_files(tmp_path / "mine")
    rows = [row for file in files for row in read_run_file(file).rows.values()]
    rows = server.runs["mine"].rows if mode == "online" else rows
    assert delves_rows(rows, but=NAMES) == journal_rows(tmp_path / "run")
