"""A run of Delve's own, and a later ``wandb.init()`` of the user's: none is in the way."""

import logging
import time

import pytest
import wandb
from delve_wandb import service
from torch import nn
from wandb_files import read_run_file, recorded_id, run_files, unsynced_rows
from wandb_users_run import delves_rows, users_rows

from delve import SaturationTracker
from delve.testing import journal_rows


@pytest.fixture(autouse=True)
def _warnings_alone(caplog):
    caplog.set_level(logging.WARNING)


def tracked(folder, **options):
    return SaturationTracker(folder, "wandb", nn.Linear(2, 2), **options)


def save(tracker, epochs):
    for epoch in epochs:
        tracker.add_scalar("accuracy", epoch / 8)
        tracker.save()


def own_rows(server, folder):
    return delves_rows(server.runs[recorded_id(folder)].rows, axis="epoch")


def test_it_gets_a_run_of_the_users_as_if_delve_were_not_there(tmp_path, server, delves_warnings):
    with tracked(tmp_path) as tracker:
        save(tracker, range(2))
        mine = wandb.init(project="theirs", name="first", config={"batch": 8}, dir=tmp_path)
        assert wandb.run is mine
        assert (mine.project, mine.name, dict(mine.config)) == ("theirs", "first", {"batch": 8})
        for step in (5, 7, 7, 9):
            wandb.log({f"loss-{step}": 0.5}, step=step)
            save(tracker, [step])
        wandb.finish()
        save(tracker, [6])
    steps = {row["_step"]: row for row in server.runs[mine.id].rows}
    assert steps.keys() == {5, 7, 9}
    assert not any("epoch" in key for row in steps.values() for key in row)
    assert own_rows(server, tmp_path) == journal_rows(tmp_path)
    assert len(journal_rows(tmp_path)) == 7
    assert not delves_warnings()


def test_the_order_of_the_ends_does_not_matter(tmp_path, server):
    tracker = tracked(tmp_path)
    mine = wandb.init(dir=tmp_path)
    save(tracker, range(2))
    tracker.close()
    wandb.log({"loss": 0.5})
    wandb.finish()
    assert own_rows(server, tmp_path) == journal_rows(tmp_path)
    assert users_rows(server.runs[mine.id].rows, "loss") == [{"loss": 0.5}]
    assert server.runs[mine.id].state == "finished"


@pytest.mark.parametrize("reinit", ["finish_previous", "return_previous", "create_new"])
def test_whatever_it_does_with_earlier_runs_delves_goes_on(tmp_path, server, reinit):
    begun = time.monotonic()
    with tracked(tmp_path) as tracker:
        save(tracker, range(2))
        first = wandb.init(dir=tmp_path, id="first")
        first.log({"loss": 0.5})
        save(tracker, [2])
        second = wandb.init(dir=tmp_path, id="second", reinit=reinit)
        second.log({"loss": 0.25})
        save(tracker, range(3, 5))
        assert (second is first) == (reinit == "return_previous")
        second.finish()
        first.finish()
    assert time.monotonic() - begun < 25  # W&B waits 30 s for an answer about a finished run
    assert own_rows(server, tmp_path) == journal_rows(tmp_path)
    assert set(journal_rows(tmp_path)) == set(range(5))


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_run_of_delves_that_others_finish_is_opened_anew(tmp_path, server, monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    begun = time.monotonic()
    with tracked(tmp_path) as tracker:
        save(tracker, range(3))
        service._ours[0].finish()  # as a notebook does, where W&B lists the run
        save(tracker, range(3, 5))
    assert time.monotonic() - begun < 25
    rows = server.runs[recorded_id(tmp_path)].rows if mode == "online" else None
    rows = rows or list(unsynced_rows(tmp_path).values())
    assert delves_rows(rows, axis="epoch") == journal_rows(tmp_path)
    assert set(journal_rows(tmp_path)) == set(range(5))


def test_a_run_of_delves_that_others_finish_at_its_end_holds_nobody(tmp_path, server):
    begun = time.monotonic()
    with tracked(tmp_path) as tracker:
        save(tracker, range(3))
        service._ours[0].finish()
    assert time.monotonic() - begun < 25
    assert own_rows(server, tmp_path) == journal_rows(tmp_path)


def test_a_teardown_of_the_users_costs_no_epoch(tmp_path, server):
    with tracked(tmp_path) as tracker:
        save(tracker, range(2))
        wandb.teardown()
        save(tracker, range(2, 4))
    assert own_rows(server, tmp_path) == journal_rows(tmp_path)


def test_where_wandb_lists_delves_run_it_is_shared(tmp_path, monkeypatch, caplog):
    monkeypatch.delattr(type(wandb.setup()), "remove_active_run")
    run_class = wandb.Run
    monkeypatch.setattr(run_class, "_finish", _without_list(run_class._finish))
    with tracked(tmp_path) as tracker:
        save(tracker, [0])
        late = wandb.init()  # W&B returns the run that Delve has started
        late.log({"mine": 1.0})
        late.log({"mine": 2.0})
        save(tracker, [1, 2])
        late.log({"mine": 3.0})
    late.finish()
    wandb.teardown()
    (file,) = run_files(tmp_path)
    rows = list(read_run_file(file).rows.values())
    assert rows[0]["epoch"] == 0
    journal = journal_rows(tmp_path)
    assert delves_rows(rows, but=["mine", "epoch"]) == {epoch: journal[epoch] for epoch in (1, 2)}
    assert users_rows(rows, "mine") == [{"mine": 1.0}, {"mine": 2.0}, {"mine": 3.0}]
    assert caplog.text.count("call wandb.init() before the tracker") == 1


def _without_list(finish):
    """W&B's own ``finish`` uses the method that the test takes away."""

    def without_list(run, *arguments, **named):
        listed = run._wl._active_runs
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                type(run._wl), "remove_active_run", lambda _, it: listed.remove(it), raising=False
            )
            return finish(run, *arguments, **named)

    return without_list


@pytest.mark.parametrize("how", ["WANDB_DISABLED", "WANDB_MODE", "run"])
def test_disabled_by_the_user_delve_sends_nothing_and_says_so_once(
    tmp_path, server, monkeypatch, delves_warnings, how
):
    if how == "run":
        wandb.init(mode="disabled")
    else:
        monkeypatch.setenv(how, {"WANDB_DISABLED": "True", "WANDB_MODE": "disabled"}[how])
    with tracked(tmp_path) as tracker:
        save(tracker, range(3))
    with tracked(tmp_path, initial_epoch=3) as tracker:
        save(tracker, range(3, 5))
    assert not server.runs
    assert not (tmp_path / "wandb").exists()
    assert len(journal_rows(tmp_path)) == 5
    assert delves_warnings() == ["W&B is disabled, so that Delve sends nothing to it"] * 2
    wandb.finish()


def test_a_mode_given_to_the_writer_wins_over_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DISABLED", "true")
    with tracked(tmp_path, writer_args={"mode": "offline"}) as tracker:
        save(tracker, range(2))
    assert delves_rows(unsynced_rows(tmp_path).values(), axis="epoch") == journal_rows(tmp_path)


def test_a_run_that_variables_name_is_the_users_later_one_too(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    with tracked(tmp_path) as tracker:
        save(tracker, [0])
        mine = wandb.init()
        assert wandb.run is mine
        wandb.log({"loss": 0.5}, step=3)
        save(tracker, [1])
        wandb.log({"loss": 0.25}, step=4)
    wandb.log({"loss": 0.125}, step=5)
    wandb.finish()
    rows = server.runs["mine"].rows
    assert delves_rows(rows, but=["loss"]) == journal_rows(tmp_path)
    assert users_rows(rows, "loss") == [{"loss": 0.5}, {"loss": 0.25}, {"loss": 0.125}]
