"""A run that the user names, and epochs that an earlier version of Delve recorded in one."""

import logging

import pytest
import wandb
from torch import nn
from wandb_files import read_run_file, run_files
from wandb_users_run import delves_rows, record_in_users_run, users_rows, users_run

from delve import SaturationTracker
from delve.errors import ArgumentError, WriterConfigurationError
from delve.testing import journal_rows, train


@pytest.fixture(autouse=True)
def _warnings_alone(caplog):
    caplog.set_level(logging.WARNING)


def private_run(folder, **options):
    """A run as a trainer's logger may have it, which is not ``wandb.run``."""
    run = wandb.init(dir=folder, id="mine", reinit="create_new", **options)
    assert wandb.run is None
    return run


def test_a_named_run_is_used_and_never_finished(tmp_path, server):
    (tmp_path / "mine").mkdir()
    mine = private_run(tmp_path / "mine", config={"lr": 1})
    mine.log({"loss": 1.0}, step=100)
    arguments = {"wandb": {"run": mine}}
    train(tmp_path / "run", "wandb", range(3), writer_args=arguments, config={"lr": 2, "new": 3})
    for step in (200, 300, 400):
        mine.log({"loss": step / 100}, step=step)
    assert dict(mine.config) == {"lr": 1}
    mine.finish()
    assert server.runs.keys() == {"mine"}
    held = server.runs["mine"].rows
    assert [row["_step"] for row in held if "loss" in row] == [100, 200, 300, 400]
    assert users_rows(held, "loss") == [{"loss": float(loss)} for loss in (1, 2, 3, 4)]
    assert delves_rows(held, but=["loss"]) == journal_rows(tmp_path / "run")
    assert not run_files(tmp_path / "run")


def test_it_comes_before_the_active_one(tmp_path):
    (tmp_path / "mine").mkdir()
    with wandb.init(dir=tmp_path, id="active") as active:
        mine = wandb.init(dir=tmp_path / "mine", id="mine", reinit="create_new")
        assert wandb.run is active
        train(tmp_path / "run", "wandb", range(2), writer_args={"run": mine})
        assert not active.step
        mine.finish()
    wandb.teardown()  # only then W&B's file is complete
    (file,) = run_files(tmp_path / "mine")
    assert delves_rows(read_run_file(file).rows.values()) == journal_rows(tmp_path / "run")


def test_a_resume_goes_on_in_the_named_run(tmp_path, server):
    (tmp_path / "mine").mkdir()
    for epochs in (range(3), range(3, 5)):
        mine = private_run(tmp_path / "mine", resume="allow")
        train(tmp_path / "run", "wandb", epochs, writer_args={"run": mine})
        mine.finish()
    assert delves_rows(server.runs["mine"].rows) == journal_rows(tmp_path / "run")


def test_what_its_owner_sends_is_left_out_now_and_when_it_is_fed_again(tmp_path, server):
    model, names = nn.Linear(2, 2), set()
    with users_run(tmp_path) as mine:
        with SaturationTracker(
            tmp_path / "run", "wandb", model, writer_args={"leave_out": names}
        ) as tracker:
            names.add("val_loss")  # grows as the trainer logs
            tracker.add_scalar("val_loss", 7.0)
            tracker.add_scalar("mine", 8.0)
            tracker.save()
        mine.log({"val_loss": 1.0})
    with (
        wandb.init(dir=tmp_path / "mine", id="second"),  # which lacks all
        SaturationTracker(tmp_path / "run", "wandb", model, initial_epoch=1) as tracker,
    ):
        tracker.add_scalar("mine", 9.0)
        tracker.save()
    held = server.runs
    assert users_rows(held["mine"].rows, "val_loss", "mine") == [{"val_loss": 1.0, "mine": 8.0}]
    assert users_rows(held["second"].rows, "val_loss", "mine") == [{"mine": 8.0}, {"mine": 9.0}]
    assert journal_rows(tmp_path / "run")[0] == {"val_loss": 7.0, "mine": 8.0}


def test_a_run_of_delves_own_gets_what_is_left_out_elsewhere(tmp_path, server):
    train(tmp_path / "run", "wandb", range(2), writer_args={"leave_out": ["accuracy"]})
    (own,) = server.runs.values()
    assert delves_rows(own.rows, axis="epoch") == journal_rows(tmp_path / "run")


@pytest.mark.parametrize(
    "arguments", [{"run": "mine"}, {"run": 3}, {"leave_out": "val_loss"}, {"leave_out": 3}]
)
def test_a_mistake_is_told_before_a_file_is_touched(tmp_path, arguments):
    with pytest.raises(ArgumentError, match=f"{next(iter(arguments))} must be"):
        train(tmp_path / "run", "wandb", range(1), writer_args=arguments)
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_finished_is_a_mistake(tmp_path):
    (tmp_path / "mine").mkdir()
    mine = private_run(tmp_path / "mine")
    mine.finish()
    with pytest.raises(WriterConfigurationError, match=r"run mine, which was given.*finished"):
        train(tmp_path / "run", "wandb", range(1), writer_args={"run": mine})


def test_a_disabled_run_gets_nothing_and_no_other_begins(tmp_path, server):
    mine = wandb.init(mode="disabled", reinit="create_new")
    train(tmp_path / "run", "wandb", range(2), writer_args={"run": mine})
    assert not server.runs
    assert not run_files(tmp_path / "run")


# --- runs that earlier versions recorded, with `epoch` as their key in the user's run too ---------


@pytest.mark.parametrize("where", ["online", "offline"])
def test_a_resume_knows_the_epochs_of_an_earlier_version(
    tmp_path, server, monkeypatch, where, delves_warnings
):
    monkeypatch.setenv("WANDB_MODE", where)
    with monkeypatch.context() as earlier:
        for module in ("shared_log", "users_run"):
            earlier.setattr(f"delve_wandb.{module}.AXIS", "epoch")
        record_in_users_run(tmp_path, range(3), commit=True)
    record_in_users_run(tmp_path, range(3, 5), resume="must" if where == "online" else None)
    files = [read_run_file(file).rows.values() for file in run_files(tmp_path / "mine")]
    rows = (
        server.runs["mine"].rows if where == "online" else [row for file in files for row in file]
    )
    assert [row.get("epoch", row.get("delve/epoch")) for row in rows] == [0, 1, 2, 3, 4]
    assert not delves_warnings()
