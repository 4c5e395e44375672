"""What W&B refuses of one item costs no other."""

import logging

import pytest
import torch
import wandb
from delve_wandb import WandbWriter
from torch import nn
from wandb_files import read_run_file, run_files, unsynced_rows
from wandb_users_run import delves_rows, users_run

from delve import SaturationTracker
from delve.errors import ArgumentError
from delve.testing import journal_rows


@pytest.fixture(autouse=True)
def _warnings_alone(caplog):
    caplog.set_level(logging.WARNING)


REFUSED = ["_step", "_timestamp", "_runtime", "_wandb", "\\"]
TAKEN = ["loss*", "*", "a.b", "a", "a\\b", "b\\", ".", "x" * 5000, "new\nline", "nul\0", "_hidden"]


@pytest.mark.parametrize("owner", ["Delve's", "the user's"])
def test_a_name_that_wandb_does_not_take_is_left_out_alone(tmp_path, caplog, owner):
    mine = users_run(tmp_path) if owner == "the user's" else None
    with SaturationTracker(tmp_path / "run", "wandb", nn.Linear(2, 2)) as tracker:
        for epoch in range(3):
            for name in (*REFUSED, *TAKEN):
                tracker.add_scalar(name, epoch / 8)
            tracker.save()
    if mine:
        mine.finish()
    wandb.teardown()
    (file,) = run_files(tmp_path / ("mine" if mine else "run"))
    rows = list(read_run_file(file).rows.values())
    found = delves_rows(rows, axis="delve/epoch" if mine else "epoch")
    shown = [name for name in TAKEN if not name.startswith("_")]
    assert found == {epoch: dict.fromkeys(shown, epoch / 8) for epoch in range(3)}
    for name in REFUSED:
        assert caplog.text.count(f"refuses {name!r}") + caplog.text.count(f"refuses {name} ") == 1
    assert "did not get" not in caplog.text


def test_a_layer_whose_name_wandb_cannot_write_is_left_out_alone(tmp_path, caplog):
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("good", nn.Linear(4, 4))
    model.add_module("bad\ud800", nn.Linear(4, 4))
    with SaturationTracker(tmp_path, "wandb", model) as tracker:
        for epoch in range(3):
            model(torch.randn(16, 4))
            tracker.add_scalar("loss", epoch / 8)
            tracker.add_saturations()
    journal = journal_rows(tmp_path)
    expected = {
        epoch: {name: value for name, value in row.items() if "bad" not in name}
        for epoch, row in journal.items()
    }
    assert delves_rows(unsynced_rows(tmp_path).values(), axis="epoch") == expected
    assert any("bad" in name for name in journal[0])
    assert caplog.text.count("backend refuses") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e308, 5e-324])
def test_a_value_at_the_edge_arrives(tmp_path, value):
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2)) as tracker:
        tracker.add_scalar("loss", value)
        tracker.add_scalar("other", 0.5)
        tracker.save()
    (row,) = unsynced_rows(tmp_path).values()
    assert row["other"] == 0.5
    assert row["loss"] == pytest.approx(value, nan_ok=True, rel=0)


def test_a_configuration_key_that_wandb_refuses_costs_no_other(tmp_path, caplog):
    config = {"lr": 0.1, "bad\ud800": 1, "seed": 3, "text": "half \ud800"}
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2), config=config) as tracker:
        tracker.add_scalar("loss", 1.0)
        tracker.save()
    (file,) = run_files(tmp_path)
    contents = read_run_file(file)
    assert (contents.config["lr"], contents.config["seed"]) == (0.1, 3)
    assert contents.rows == {0: {"epoch": 0, "loss": 1.0}}
    assert "did not get" not in caplog.text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("tags", [""]),
        ("tags", ["fine", "x" * 65]),
        ("tags", ["half \ud800"]),
        ("name", "half \ud800"),
        ("group", "half \ud800"),
        ("prefix", "*"),
        ("prefix", "_hidden/"),
        ("prefix", 3),
    ],
)
def test_an_option_that_wandb_refuses_is_named_by_the_constructor(tmp_path, option, value):
    with pytest.raises(ArgumentError, match=option):
        WandbWriter(tmp_path, **{option: value})


def test_the_longest_tag_is_taken(tmp_path):
    options = {"tags": ["x" * 64, "y"]}
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2), writer_args=options) as tracker:
        tracker.add_scalar("loss", 1.0)
        tracker.save()
    assert unsynced_rows(tmp_path) == {0: {"epoch": 0, "loss": 1.0}}
