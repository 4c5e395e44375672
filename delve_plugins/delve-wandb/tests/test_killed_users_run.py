"""A W&B run of the user's whose process was killed: what was lost is logged again, and no more."""

import shutil

import pytest
import wandb
from wandb_files import read_run_file, run_files, sync
from wandb_users_run import (
    delves_rows,
    record_in_users_run,
    record_in_users_run_and_die,
    rows_on_disk,
    tear,
    users_rows,
    users_run,
)

from delve.testing import journal_rows, train


@pytest.mark.parametrize("on_disk", [0, 2])
def test_offline_what_a_kill_took_is_logged_again_and_what_it_left_is_not(
    tmp_path, on_disk, delves_warnings
):
    record_in_users_run_and_die(tmp_path, range(4), on_disk=on_disk > 0)
    (file,) = run_files(tmp_path / "mine")
    tear(file, rows=on_disk)
    record_in_users_run(tmp_path, range(4, 6), commit=True)
    assert delves_rows(rows_on_disk(tmp_path)) == journal_rows(tmp_path / "run")
    assert not delves_warnings()


def test_offline_all_that_is_on_disk_can_be_synced(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    record_in_users_run_and_die(tmp_path, range(4), on_disk=True)
    record_in_users_run(tmp_path, range(4, 6))
    sync(tmp_path / "mine" / "wandb")
    assert delves_rows(server.runs["mine"].rows) == journal_rows(tmp_path / "run")


def test_offline_epochs_that_a_later_file_holds_are_not_logged_again(tmp_path):
    record_in_users_run_and_die(tmp_path, range(4), on_disk=True)
    record_in_users_run_and_die(tmp_path, range(4, 6), on_disk=True)
    tear(run_files(tmp_path / "mine")[0], rows=2)
    record_in_users_run(tmp_path, range(6, 8))
    rows = rows_on_disk(tmp_path)
    assert [row["delve/epoch"] for row in rows] == [0, 1, 4, 5, 2, 3, 6, 7]
    assert delves_rows(rows) == journal_rows(tmp_path / "run")


@pytest.mark.parametrize("first", [0, 2], ids=["a new run", "a lower epoch"])
def test_offline_what_became_void_does_not_pass_for_what_a_kill_took(tmp_path, first):
    record_in_users_run_and_die(tmp_path, range(4), on_disk=True)
    record_in_users_run_and_die(tmp_path, range(first, 4), on_disk=False)
    record_in_users_run(tmp_path, range(4, 6))
    newest = read_run_file(run_files(tmp_path / "mine")[-1]).rows.values()
    journal = journal_rows(tmp_path / "run")
    assert delves_rows(newest) == {epoch: journal[epoch] for epoch in range(first, 6)}


def test_offline_a_row_of_the_users_does_not_pass_for_an_epoch(tmp_path):
    with users_run(tmp_path) as mine:
        train(tmp_path / "run", "wandb", range(3))
        mine.log({"epoch": 3, "mine": 1.0})
        train(tmp_path / "run", "print", [3])  # W&B lacks it, as after a kill
    wandb.teardown()
    record_in_users_run(tmp_path, [4])
    rows = rows_on_disk(tmp_path)
    assert delves_rows(rows, but=["epoch", "mine"]) == journal_rows(tmp_path / "run")
    assert users_rows(rows, "epoch", "mine") == [{"epoch": 3, "mine": 1.0}]


def test_offline_a_lower_epoch_than_recorded_keeps_both_and_says_so(tmp_path, caplog):
    record_in_users_run_and_die(tmp_path, range(4), on_disk=True)
    record_in_users_run(tmp_path, range(2, 5))
    assert [row["delve/epoch"] for row in rows_on_disk(tmp_path)] == [0, 1, 2, 3, 2, 3, 4]
    assert "keeps what was recorded for epochs 2-3" in caplog.text


def assert_not_sent_again(delves_warnings, epochs):
    (warning,) = delves_warnings()
    assert "W&B run mine is your own" in warning
    assert f"epochs {epochs} are not sent again" in warning
    assert "delve export" in warning
    return warning


def test_offline_nothing_is_sent_again_where_files_are_gone(
    tmp_path, server, monkeypatch, delves_warnings
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    record_in_users_run_and_die(tmp_path, range(4), on_disk=True)
    sync(tmp_path / "mine" / "wandb")
    shutil.rmtree(tmp_path / "mine")
    record_in_users_run(tmp_path, range(4, 6))
    sync(tmp_path / "mine" / "wandb")
    assert delves_rows(server.runs["mine"].rows) == journal_rows(tmp_path / "run")
    assert "offline W&B cannot tell what it holds" in assert_not_sent_again(delves_warnings, "0-3")


def test_offline_nothing_is_sent_again_that_a_server_may_hold(
    tmp_path, server, monkeypatch, delves_warnings
):
    record_in_users_run_and_die(tmp_path, range(4), on_disk=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    record_in_users_run(tmp_path, range(4, 6))
    assert "offline W&B cannot tell what it holds" in assert_not_sent_again(delves_warnings, "0-3")


NOTHING_SENT = {"WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "60"}


@pytest.mark.parametrize("summary", [{}, {"delve/epoch": 0}], ids=["nothing", "summary alone"])
def test_online_what_never_reached_the_server_is_sent_again(tmp_path, server, summary):
    record_in_users_run_and_die(tmp_path, range(4), on_disk=False, **NOTHING_SENT)
    assert server.runs["mine"].rows == []
    server.runs["mine"].summary = summary
    record_in_users_run(tmp_path, range(4, 6), resume="must")
    assert delves_rows(server.runs["mine"].rows) == journal_rows(tmp_path / "run")


def test_online_nothing_is_sent_again_where_the_server_does_not_tell(
    tmp_path, server, delves_warnings
):
    with users_run(tmp_path) as mine:
        mine.log({"loss": 1.0})
    wandb.teardown()
    settings = {"WANDB_RESUME": "must", **NOTHING_SENT}
    record_in_users_run_and_die(tmp_path, range(4), on_disk=False, **settings)
    record_in_users_run(tmp_path, range(4, 6), resume="must")
    assert [row.get("delve/epoch") for row in server.runs["mine"].rows] == [None, 4, 5]
    assert "its summary on the server" in assert_not_sent_again(delves_warnings, "0-3")
