"""One configuration of any kind is the same in each backend, the journal, `show` and an export."""

import argparse
import enum
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow_server import copy_store, make_store
from torch import nn
from wandb_files import read_run_file, run_files

from delve import SaturationTracker
from delve.cli import main
from delve.errors import ArgumentError
from delve.journal.stored_run import read_run


class Colour(enum.Enum):
    RED = 1


@dataclass
class Net:
    width: int = 3
    colours: tuple = (Colour.RED,)


@dataclass
class Job:
    net: Net = field(default_factory=Net)
    lr: np.float32 = np.float32(0.5)  # noqa: RUF009
    limit: float = math.inf
    data: Path = Path("data/x")
    tags: frozenset = frozenset({"b", "a"})
    bias: torch.Tensor = field(default_factory=lambda: torch.zeros(2))


PLAIN = {
    "net": {"width": 3, "colours": ["RED"]},
    "lr": 0.5,
    "limit": "Infinity",
    "data": "data/x",
    "tags": ["a", "b"],
    "bias": [0.0, 0.0],
}
PARAMS = {
    "net.width": "3",
    "net.colours": "['RED']",
    "lr": "0.5",
    "limit": "Infinity",
    "data": "data/x",
    "tags": "['a', 'b']",
    "bias": "[0.0, 0.0]",
}


def omega():
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create(
        {
            "net": {"width": 3, "colours": [Colour.RED]},
            "lr": 0.5,
            "limit": math.inf,
            "data": "data/${source}",
            "tags": ["a", "b"],
            "bias": ["${zero}", "${zero}"],
        }
    )
    rest = omegaconf.OmegaConf.create({"source": "x", "zero": 0.0, "job": config})
    return rest.job


def pydantic_model():
    pydantic: Any = pytest.importorskip("pydantic", minversion="2")

    class Inner(pydantic.BaseModel):
        width: int = 3
        colours: tuple[Colour, ...] = (Colour.RED,)

    class Model(pydantic.BaseModel):
        net: Inner = Inner()
        lr: float = 0.5
        limit: float = math.inf
        data: Path = Path("data/x")
        tags: frozenset[str] = frozenset({"b", "a"})
        bias: tuple[float, float] = (0.0, 0.0)

    return Model()


CONFIGS = {
    "dataclass": Job,
    "namespace": lambda: argparse.Namespace(**vars(Job())),
    "omegaconf": omega,
    "pydantic": pydantic_model,
    "plain": lambda: dict(PLAIN),
}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "mlflow.db")


@pytest.fixture(autouse=True)
def _store(tmp_path, empty_store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", copy_store(empty_store, tmp_path))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    settings = {"MODE": "offline", "SILENT": "true", "CONFIG_DIR": str(tmp_path / "wandb-config")}
    for name, value in settings.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    mlflow.set_tracking_uri(None)
    yield
    mlflow.set_tracking_uri(None)
    import wandb

    wandb.teardown()


def record(folder, config, save_to, **arguments):
    layer = nn.Linear(3, 2)
    with SaturationTracker(folder, save_to, layer, config=config, **arguments) as tracker:
        layer(torch.randn(9, 3))
        tracker.add_saturations()


def params():
    client = MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments()]
    return [run.data.params for run in client.search_runs(experiments)]


def shown(folder, *options):
    result = CliRunner().invoke(main, ["show", str(folder), *options], env={"COLUMNS": "100"})
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("kind", CONFIGS)
def test_all_hold_the_very_same(tmp_path, kind, caplog):
    folder = tmp_path / "run"
    record(folder, CONFIGS[kind](), ["mlflow", "wandb"])
    assert read_run(folder).config == PLAIN
    assert params() == [PARAMS]
    (file,) = run_files(folder)
    held = read_run_file(file).config
    assert {k: v for k, v in held.items() if not k.startswith(("_wandb", "delve."))} == PLAIN
    assert json.loads(shown(folder, "--json"))[0]["config"] == PLAIN
    text = shown(folder)
    for line in ("net.width    3", 'net.colours  ["RED"]', "limit        Infinity"):
        assert line in text
    assert not [record for record in caplog.records if record.levelname != "INFO"]


def test_a_resume_and_an_export_hold_it_too(tmp_path, caplog):
    folder = tmp_path / "run"
    record(folder, Job(), "print")
    record(folder, Job(), ["print", "mlflow"], initial_epoch=1)
    assert params() == [PARAMS]
    entries = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert [entry["type"] for entry in entries if "config" in entry] == ["run"]  # it is the same
    other = tmp_path / "other"
    record(other, Job(), "print")
    assert CliRunner().invoke(main, ["export", str(other), "--to", "mlflow"]).exit_code == 0
    assert params() == [PARAMS, PARAMS]
    assert not caplog.records


def test_what_cannot_be_resolved_leaves_nothing_behind(tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"optimizer": {"lr": "???"}})
    with pytest.raises(ArgumentError, match=r"config\['optimizer'\]\['lr'\] cannot be resolved"):
        record(tmp_path / "run", config, "mlflow")
    assert not (tmp_path / "run").exists()
    assert params() == []
