"""Whose a W&B run is: copies, moved folders, folders of somebody else's, states of any shape."""

import hashlib
import json
import logging
import shutil

import pytest
import wandb
from delve_wandb import WandbWriter
from delve_wandb.identity import COPIED_FROM, MARK
from torch import nn
from wandb_files import journal_entries, recorded_id, run_files, sync, unsynced_rows
from wandb_users_run import delves_rows, users_run

from delve import RunInfo, SaturationTracker
from delve.journal.lines import encode
from delve.records import Origin
from delve.testing import journal_rows, train


@pytest.fixture(autouse=True)
def _warnings_alone(caplog):
    caplog.set_level(logging.WARNING)


def rows_of(server, folder):
    return delves_rows(server.runs[recorded_id(folder)].rows, axis="epoch")


def config_of(server, run_id):
    return {key: entry["value"] for key, entry in server.runs[run_id].config.items()}


def snapshot(run):
    """All that a server holds of a run."""
    return json.dumps({**vars(run)}, sort_keys=True, default=str)


def digest(folder):
    """All that stands in a folder's W&B files, and which files there are."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "wandb").glob("*run-*/**/*"))
        if path.is_file()
    }


def test_a_copied_folder_gets_a_run_of_its_own(tmp_path, server):
    train(tmp_path / "a", "wandb", range(4))
    original = recorded_id(tmp_path / "a")
    before = snapshot(server.runs[original])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    train(tmp_path / "b", "wandb", range(2, 5))
    copy = recorded_id(tmp_path / "b")
    assert copy != original
    assert snapshot(server.runs[original]) == before
    assert rows_of(server, tmp_path / "b") == journal_rows(tmp_path / "b")
    assert config_of(server, copy)[COPIED_FROM] == original
    assert COPIED_FROM not in config_of(server, original)
    train(tmp_path / "b", "wandb", range(3, 6))
    train(tmp_path / "a", "wandb", range(4, 7))
    assert recorded_id(tmp_path / "b") == copy
    assert recorded_id(tmp_path / "a") == original
    for folder in ("a", "b"):
        assert rows_of(server, tmp_path / folder) == journal_rows(tmp_path / folder)
    assert len(server.runs) == 2


def test_offline_a_copied_folder_leaves_the_originals_files(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(tmp_path / "a", "wandb", range(4))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    before = digest(tmp_path / "b")
    train(tmp_path / "b", "wandb", range(2, 5))
    train(tmp_path / "b", "wandb", range(3, 6))
    after = digest(tmp_path / "b")
    assert {path: after.get(path) for path in before} == before
    assert {path for path in after if "synced" in path and path.split("/")[1] in before} == set()
    sync(tmp_path / "a" / "wandb")
    for file in run_files(tmp_path / "b"):
        if (
            recorded_id(tmp_path / "b") in file.name
            and not file.with_name(f"{file.name}.synced").exists()
        ):
            sync(file.parent)
    for folder in ("a", "b"):
        assert rows_of(server, tmp_path / folder) == journal_rows(tmp_path / folder)
    copied_from = config_of(server, recorded_id(tmp_path / "b"))[COPIED_FROM]
    assert copied_from == recorded_id(tmp_path / "a")


def test_a_copy_of_a_run_that_still_trains_costs_it_nothing(tmp_path, server):
    with SaturationTracker(tmp_path / "a", "wandb", nn.Linear(2, 2)) as tracker:
        for epoch in range(3):
            tracker.add_scalar("accuracy", epoch / 8)
            tracker.save()
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        train(tmp_path / "b", "wandb", [1])
        for epoch in range(3, 5):
            tracker.add_scalar("accuracy", epoch / 8)
            tracker.save()
    for folder in ("a", "b"):
        assert rows_of(server, tmp_path / folder) == journal_rows(tmp_path / folder)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_moved_folder_goes_on_in_its_run(tmp_path, server, monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    train(tmp_path / "a", "wandb", range(4))
    original = recorded_id(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    train(tmp_path / "b", "wandb", range(2, 5))
    assert recorded_id(tmp_path / "b") == original
    rows = unsynced_rows(tmp_path / "b").values()
    rows = server.runs[original].rows if mode == "online" else rows
    assert delves_rows(rows, axis="epoch") == journal_rows(tmp_path / "b")


def forge(folder, **state):
    """Have a folder's journal name another W&B run, as one from somebody else may."""
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for place, line in enumerate(lines):
        entry = json.loads(line)
        if entry["type"] == "state" and entry["writer"] == "wandb":
            entry.pop("crc32", None)
            lines[place] = encode({**entry, "state": {**entry["state"], **state}})
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("victim", ["the user's", "Delve's"])
@pytest.mark.parametrize("first", [2, 4])
def test_a_folder_that_names_somebody_elses_run_leaves_it_alone(
    tmp_path, server, caplog, victim, first
):
    if victim == "Delve's":
        train(tmp_path / "other", "wandb", range(6))
        run_id = recorded_id(tmp_path / "other")
        keys = [e["state"]["key"] for e in journal_entries(tmp_path / "other") if "state" in e]
        forged = {"run_id": run_id, "owned": True, "key": keys[-1]}
    else:
        with users_run(tmp_path) as mine:
            for step in range(6):
                mine.log({"loss": step})
        wandb.teardown()
        run_id, forged = "mine", {"run_id": "mine", "owned": True}
    train(tmp_path / "a", "wandb", range(4))
    forge(tmp_path / "a", **forged)
    before = snapshot(server.runs[run_id])
    train(tmp_path / "a", "wandb", range(first, 5))
    assert snapshot(server.runs[run_id]) == before
    assert rows_of(server, tmp_path / "a") == journal_rows(tmp_path / "a")
    assert caplog.text.count(f"names W&B run {run_id} as its own") == 1


def test_a_run_that_has_lost_its_mark_is_let_go(tmp_path, server, caplog):
    train(tmp_path, "wandb", range(4))
    before = recorded_id(tmp_path)
    del server.runs[before].config[MARK]
    rows = list(server.runs[before].history)
    train(tmp_path, "wandb", range(2, 5))
    assert server.runs[before].history == rows
    assert recorded_id(tmp_path) != before
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)
    assert caplog.text.count("does not say that it was begun for this run") == 1


SHAPES = [
    {"run_id": 3, "owned": True},
    {"run_id": ["a"], "owned": "yes", "segments": 7},
    {"owned": True, "key": {"a": 1}, "online": 1, "project": [], "entity": 2.5},
    {"segments": {"a": "b"}, "attempt": "x", "config": "abc", "address": False},
    {"segments": [], "attempt": True, "copied_from": {}, "attempt_first": None},
    {"run_id": "../../etc", "owned": True},
    {"run_id": "a\nb", "owned": True, "key": "\ud800"},
]


@pytest.mark.parametrize("state", SHAPES)
def test_a_state_of_any_shape_is_passed_over(tmp_path, state, caplog):
    train(tmp_path, "wandb", range(3))
    forge(tmp_path, **state)
    train(tmp_path, "wandb", range(2, 4))
    assert delves_rows(unsynced_rows(tmp_path).values(), axis="epoch") == journal_rows(tmp_path)
    assert "did not get" not in caplog.text
    assert "unreadable" not in caplog.text


def resumed(folder, first, state, **more):
    """A writer that goes on, told what a tracker would tell."""
    writer = WandbWriter(folder)
    epochs = more.pop("epochs", tuple(range(first)))
    run = RunInfo(folder, "r" * 32, 0, initial_epoch=first, epochs=epochs, state=state, **more)
    lacking = writer.resume_from_saved_state(run)
    for epoch in range(lacking, first + 1):
        writer.add_scalar("loss", epoch / 8)
        writer.save(epoch, 1000 * epoch, run)
    writer.close(None, run)
    return run.state["run_id"]


def begun(folder, epochs):
    folder.mkdir()
    writer, state = WandbWriter(folder), {}
    run = RunInfo(folder, "r" * 32, 0, state=state)
    writer.start(run)
    for epoch in range(epochs):
        writer.add_scalar("loss", epoch / 8)
        writer.save(epoch, 1000 * epoch, run)
    writer.close(None, run)
    return state


def losses(server, run_id):
    return {row["epoch"]: row["loss"] for row in server.runs[run_id].rows}


def test_what_may_be_a_copy_goes_on_where_nothing_has_to_be_dropped(tmp_path, server):
    state = begun(tmp_path / "a", 4)
    (tmp_path / "b").mkdir()
    run_id = resumed(tmp_path / "b", 4, dict(state), may_be_copy=True)
    assert run_id == state["run_id"]
    assert losses(server, run_id) == {epoch: epoch / 8 for epoch in range(5)}


@pytest.mark.parametrize(
    ("first", "epochs"), [(2, (0, 1)), (3, (0, 1, 2)), (4, (0, 1))], ids=["void", "more", "gap"]
)
def test_what_may_be_a_copy_begins_a_run_of_its_own_where_there_is_more(
    tmp_path, server, caplog, first, epochs
):
    state = begun(tmp_path / "a", 4)
    (tmp_path / "b").mkdir()
    before = snapshot(server.runs[state["run_id"]])
    copied = dict(state)
    run_id = resumed(tmp_path / "b", first, copied, epochs=epochs, may_be_copy=True)
    assert run_id != state["run_id"]
    assert snapshot(server.runs[state["run_id"]]) == before
    assert config_of(server, run_id)[COPIED_FROM] == state["run_id"]
    assert losses(server, run_id)[first] == first / 8
    assert caplog.text.count("may be a copy") == 1
    again = resumed(tmp_path / "b", first, copied, may_be_copy=True)
    assert again == run_id  # which was begun here
    assert losses(server, run_id)[first] == first / 8


def test_offline_what_may_be_a_copy_begins_a_run_of_its_own(tmp_path):
    state = begun(tmp_path / "a", 4)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    before = digest(tmp_path / "b")
    run_id = resumed(tmp_path / "b", 4, dict(state), may_be_copy=True)
    assert run_id != state["run_id"]
    after = digest(tmp_path / "b")
    assert {path: after.get(path) for path in before} == before


def test_an_origin_whose_state_makes_no_sense_is_named_by_its_own_id(tmp_path, server):
    for state in ({}, {"run_id": 3}, ["x"]):
        origin = Origin("o" * 32, "/elsewhere", state)
        folder = tmp_path / str(len(str(state)))
        folder.mkdir()
        writer, run = WandbWriter(folder), RunInfo(folder, "r" * 32, 0, origin=origin)
        writer.start(run)
        writer.close(None, run)
        assert config_of(server, run.state["run_id"])[COPIED_FROM] == "o" * 32
