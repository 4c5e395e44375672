"""A run that counts training steps, killed and resumed by its step: each row once, at its step."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from support import step_runs
from support.step_runs import BATCH, CHECKPOINT_AT, EVERY, STEPS
from tensorboard_runs import read_points
from wandb_files import read_run_file
from wandb_server import WandbServer

from delve.cli import main
from delve.delivery.repair import repair
from delve.journal.stored_run import read_run
from delve.testing import journal_lines

ROWS = [*range(EVERY, STEPS + 1, EVERY)]  # the step of each


def environment_of(tmp_path):
    """Backends of this folder alone; W&B offline."""
    others = ("WANDB_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return kept | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
    }


def train(folder, environment, kill_at=0, attempt=1):
    folder.mkdir(exist_ok=True)
    script = [sys.executable, step_runs.__file__, folder, str(kill_at), str(attempt)]
    return subprocess.run(
        script, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def train_killed(folder, environment, kill_at):
    killed = train(folder, environment, kill_at)
    assert killed.returncode == -9, killed.stderr
    resumed = train(folder, environment, attempt=2)
    assert resumed.returncode == 0, resumed.stderr
    return resumed


def wanted():
    """What the rows hold, by step: the scalars of the call itself, and the samples since the last.

    Rows up to the checkpoint are of the first process, later ones of the second.
    """
    return {
        step: {
            "loss": 1 / step,
            "attempt": 1.0 if step <= CHECKPOINT_AT else 2.0,
            "train-samples/0": float(BATCH * EVERY),
        }
        for step in ROWS
    }


def by_step(points, close=False):
    """Points of these names, each of which must be there once."""
    rows = {}
    for step, name, value in points:
        if name in wanted()[ROWS[0]]:
            row = rows.setdefault(step, {})
            assert name not in row, f"{name} of step {step} is there twice"
            row[name] = pytest.approx(value, rel=1e-6) if close else value
    return rows


def csv_points(run):
    table = pd.read_csv(run / "metrics.csv")
    assert list(table.columns[:2]) == ["epoch", "step"]
    assert table["epoch"].tolist() == list(range(len(ROWS)))
    assert table["step"].dtype == np.int64
    return [(s, n, v) for n in table.columns for s, v in zip(table["step"], table[n], strict=True)]


def npy_points(run):
    with np.load(run / "npy/scalars.npz") as scalars:
        arrays = dict(scalars)
    assert arrays.pop("epoch").tolist() == list(range(len(ROWS)))
    steps = arrays.pop("step")
    assert steps.dtype == np.int64
    return [(s, n, v) for n, vs in arrays.items() for s, v in zip(steps, vs, strict=True)]


def journal_points(run):
    records = list(read_run(run).records)
    assert [record.epoch for record in records] == list(range(len(ROWS)))
    return [
        (record.step, str(name), value)
        for record in records
        for values in (record.scalars, record.metrics)
        for name, value in values.items()
    ]


def mlflow_points(run, environment):
    from mlflow import MlflowClient

    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    run_id = next(journal_lines(run))["run_id"]
    found = client.search_runs(["0"], f"tags.`delve.run_id` = '{run_id}'")
    (held,) = [each for each in found if "delve.superseded_by" not in each.data.tags]
    assert held.info.status == "FINISHED"
    return [
        (point.step, key, point.value)
        for key in held.data.metrics
        for point in client.get_metric_history(held.info.run_id, key)
    ]


def pictures(run):
    """The pixels of each figure."""
    from PIL import Image

    return {
        str(path.relative_to(run)): np.asarray(Image.open(path).convert("RGB"))
        for path in sorted((run / "plots").rglob("*.png"))
    }


def state_of(run, writer):
    states = [line for line in journal_lines(run) if line.get("writer") == writer]
    return states[-1]["state"]


def wandb_points(rows):
    for row in rows:
        assert row["step"] == EVERY * (row["epoch"] + 1)
        yield from ((row["step"], name, value) for name, value in row.items())


def check_all_but_wandb(run, environment):
    assert by_step(journal_points(run)) == wanted()
    assert by_step(csv_points(run)) == wanted()
    assert by_step(npy_points(run)) == wanted()
    assert by_step(mlflow_points(run, environment)) == wanted()
    assert by_step(read_points(run), close=True) == wanted()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    done = train(folder / "a", environment_of(folder))
    assert done.returncode == 0, done.stderr
    return folder / "a/run"


@pytest.fixture(scope="module", params=[730, 801])
def killed(request, tmp_path_factory):
    """One that was killed before or after a row that the resume made void, and its environment."""
    folder = tmp_path_factory.mktemp(f"killed-at-{request.param}")
    environment = environment_of(folder)
    train_killed(folder / "a", environment, kill_at=request.param)
    return folder / "a/run", environment


def test_each_backend_holds_each_row_once_at_its_step(killed):
    run, environment = killed
    check_all_but_wandb(run, environment)
    files = [read_run_file(path) for path in sorted((run / "wandb").rglob("*.wandb"))]
    whole = [file for file in files if file.exit_code is not None]
    assert [file.step_metrics["*"] for file in whole] == ["step"]
    rows = [{"_step": step} | row for step, row in whole[0].rows.items()]
    assert [row["_step"] for row in rows] == list(range(len(ROWS)))
    assert by_step(wandb_points(rows)) == wanted()


def test_the_figures_are_those_of_an_uninterrupted_run(killed, uninterrupted):
    shown, right = pictures(killed[0]), pictures(uninterrupted)
    assert shown.keys() == right.keys()
    assert len([name for name in shown if "/epoch" in name]) == 2 * len(ROWS)
    for name, picture in shown.items():
        assert np.array_equal(picture, right[name]), name


@pytest.mark.parametrize("writer", ["csv", "npy", "tensorboard", None])
def test_a_lost_journal_is_written_anew_with_its_steps(killed, tmp_path, writer):
    run = tmp_path / "run"
    shutil.copytree(killed[0], run)
    (run / "journal.jsonl").unlink()
    repair(run, [writer] if writer else [])
    assert by_step(journal_points(run), close=True) == wanted()
    assert len(journal_points(run)) == len(journal_points(killed[0]))


def test_the_steps_are_shown(uninterrupted):
    runner = CliRunner()
    assert "100 to 1000" in runner.invoke(main, ["show", str(uninterrupted)]).stdout
    (told,) = json.loads(runner.invoke(main, ["show", str(uninterrupted), "--json"]).stdout)
    assert told["steps"] == ROWS
    assert {table["step"] for table in told["stats"]} == {STEPS}


def test_a_wandb_server_is_cut_back_to_the_rows_of_earlier_steps(tmp_path):
    environment = environment_of(tmp_path)
    with WandbServer() as server:
        del environment["WANDB_MODE"]
        home = tmp_path / "home"
        home.mkdir()
        environment |= server.environment | {
            "HOME": str(home),
            "NETRC": str(home / "netrc"),
            "WANDB_PROJECT": "tests",
        }
        train_killed(tmp_path / "a", environment, 801)
        run = tmp_path / "a/run"
        check_all_but_wandb(run, environment)
        held = server.runs[state_of(run, "wandb")["run_id"]]
        assert held.state == "finished"
        assert [row["_step"] for row in held.rows] == list(range(len(ROWS)))
        assert by_step(wandb_points(held.rows)) == wanted()
