"""The callback for Transformers: trainings with the real Trainer, read back from each backend."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.trainer_backends import (
    csv_steps,
    is_of_layer,
    journal_steps,
    layer_rows,
    layers_of,
    mlflow_curves,
    nearly,
    tensorboard_steps,
    users_tensorboard,
    wandb_rows,
    wandb_steps,
)

pytest.importorskip("transformers")
pytest.importorskip("delve_transformers")
SCRIPT = Path(__file__).parents[1] / "support" / "transformers_runs.py"
STATS = ["lsat", "n", "trc"]
LOGGERS = ["mlflow", "tensorboard", "wandb"]
STEPS = 24
EVALUATIONS = [5, 10, 15, 20, 24]  # the last at the end
CLOCK = ("runtime", "per_second")  # parts of names of what no two trainings have alike


def run(folder, *scenarios, ranks=1, expect=0, **environment):
    """Train in a process, or in several, with backends in a folder."""
    folder.mkdir(exist_ok=True)
    variables = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "WANDB_SILENT": "true",
        "CUDA_VISIBLE_DEVICES": "",
        **environment,
    }
    command = [sys.executable]
    if ranks > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command += [str(SCRIPT), *map(json.dumps, scenarios)]
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == expect, done.stderr[-4000:]
    return done.stderr


def scenario(folder, name="out", **options):
    return {"out": str(folder / name), **options}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A training without Delve, with the Trainer's loggers."""
    folder = tmp_path_factory.mktemp("bare")
    run(folder, scenario(folder, arguments={"report_to": LOGGERS}))
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same with Delve, in the runs of these loggers."""
    folder = tmp_path_factory.mktemp("plain")
    delve = {"save_to": ["loggers", "csv"], "stats": STATS}
    whole = scenario(
        folder,
        delve=delve,
        arguments={"report_to": LOGGERS},
        witness=str(folder / "witness.pt"),
    )
    assert "goes on without it" not in run(folder, whole)
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The same, killed in the middle of an epoch and gone on with, in backends of Delve's own."""
    folder = tmp_path_factory.mktemp("killed")
    options = {
        "delve": {"save_to": ["csv", "mlflow", "tensorboard", "wandb"], "stats": STATS},
        "arguments": {"report_to": "none"},
    }
    run(folder, scenario(folder, **options, kill_at=12), expect=-9)
    before = journal_steps(folder / "out" / "delve")
    assert list(before) == [5, 10]
    assert (folder / "out" / "checkpoint-8" / "delve-0.pt").exists()
    run(folder, scenario(folder, **options, resume=True))
    return folder


@pytest.fixture(scope="module")
def expected(plain):
    return layers_of(journal_steps(plain / "out" / "delve"))


def test_a_row_is_taken_at_each_evaluation(plain):
    rows = journal_steps(plain / "out" / "delve")
    assert list(rows) == EVALUATIONS
    assert all(set(row) == set(rows[5]) for row in rows.values())
    assert rows[10]["eval-samples/bert.pooler.dense"] == 8
    assert rows[10]["train-samples/bert.pooler.dense"] == 5 * 4


def test_the_values_are_those_of_an_independent_computation(plain, expected):
    seen = torch.load(plain / "witness.pt")
    for before, step in zip([0, *EVALUATIONS], EVALUATIONS, strict=False):
        row = expected[step]
        for mode in ("train", "eval"):
            outputs = [
                output
                for at, training, output in seen
                if training == (mode == "train") and before < at <= step
            ]
            samples = torch.cat(outputs).numpy()
            values = np.linalg.eigvalsh(np.cov(samples.T))[::-1]
            shares = np.cumsum(values) / values.sum()
            saturation = (int((shares < 0.99).sum()) + 1) / samples.shape[1]
            assert row[f"{mode}-saturation/bert.pooler.dense"] == saturation
            assert row[f"{mode}-samples/bert.pooler.dense"] == len(samples)


def test_each_backend_of_the_trainer_holds_each_row_once(plain, expected):
    assert layers_of(csv_steps(plain / "out" / "delve")) == expected
    assert nearly(tensorboard_steps(plain / "out" / "delve")) == nearly(expected)
    (curves,) = mlflow_curves(plain / "mlflow.db").values()
    assert layer_rows(curves) == expected
    ((_, rows),) = wandb_rows(plain)
    assert wandb_steps(rows) == expected


def test_the_trainers_own_curves_are_as_without_delve(plain, bare):
    (mine,) = mlflow_curves(plain / "mlflow.db").values()
    (alone,) = mlflow_curves(bare / "mlflow.db").values()
    assert own(mine) == own(alone)
    assert own(users_tensorboard(plain / "out")) == own(users_tensorboard(bare / "out"))
    ((_, mine_in_wandb),) = wandb_rows(plain)
    ((_, alone_in_wandb),) = wandb_rows(bare)
    assert users_rows(mine_in_wandb) == users_rows(alone_in_wandb)
    assert len(users_rows(alone_in_wandb)) > 10


def own(curves):
    picked = {
        name: sorted(points)
        for name, points in curves.items()
        if not is_of_layer(name) and not any(part in name for part in CLOCK)
    }
    assert picked
    return picked


def users_rows(rows):
    """The rows that the Trainer logged, without what Delve added to them."""
    picked = [
        {
            name: value
            for name, value in row.items()
            if not is_of_layer(name)
            and not name.startswith("delve/")
            and not any(part in name for part in CLOCK)
        }
        for row in rows
    ]
    return [row for row in picked if row]


def test_a_killed_training_goes_on_to_the_same_bits_in_every_backend(killed, expected):
    run_folder = killed / "out" / "delve"
    assert layers_of(journal_steps(run_folder)) == expected
    assert layers_of(csv_steps(run_folder)) == expected
    assert nearly(tensorboard_steps(run_folder)) == nearly(expected)
    (curves,) = mlflow_curves(killed / "mlflow.db").values()
    assert layer_rows(curves) == expected
    held = {}
    for _, rows in wandb_rows(killed):  # of one W&B run, the later over the earlier
        held |= wandb_steps(rows)
    assert held == expected
    assert len({run_id for run_id, _ in wandb_rows(killed)}) == 1


def test_the_trainers_runs_are_found_again(tmp_path, expected):
    options = {
        "delve": {"stats": STATS, "resume_loggers": True, "carry_scalars": False},
        "arguments": {"report_to": ["mlflow", "wandb"]},
    }
    run(tmp_path, scenario(tmp_path, **options, kill_at=12), expect=-9)
    run(tmp_path, scenario(tmp_path, **options, resume=True))
    (curves,) = mlflow_curves(tmp_path / "mlflow.db").values()
    assert layer_rows(curves, repeated={9, 10, 12}) == expected
    assert len({run_id for run_id, _ in wandb_rows(tmp_path)}) == 1
    held = {}
    for _, rows in wandb_rows(tmp_path):
        held |= wandb_steps(rows)
    assert held == expected


def test_accumulation_bf16_epochs_two_data_sets_and_carried_scalars(tmp_path):
    arguments = {
        "report_to": "none",
        "gradient_accumulation_steps": 2,
        "bf16": True,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_steps": 5,
    }
    delve = {"stats": STATS, "carry_scalars": True}
    run(
        tmp_path,
        scenario(tmp_path, delve=delve, arguments=arguments, two=True),
        scenario(tmp_path, "every", delve={**delve, "every": 4}, arguments=arguments),
        scenario(
            tmp_path,
            "epochs",
            delve={**delve, "carry_scalars": False},
            arguments={**arguments, "eval_strategy": "no"},
        ),
    )
    rows = journal_steps(tmp_path / "out" / "delve")
    assert list(layers_of(rows)) == [6, 12]
    assert rows[6]["train-samples/bert.pooler.dense"] == 48
    assert rows[6]["eval-samples/bert.pooler.dense"] == 8 + 4
    assert "eval_a_loss" in rows[12]
    assert "eval_b_loss" in rows[12]
    assert [step for step, row in rows.items() if "loss" in row] == [5, 10]
    assert not {"train_loss", "epoch"} & set().union(*rows.values())
    assert csv_steps(tmp_path / "out" / "delve") == rows
    rows = journal_steps(tmp_path / "every" / "delve")
    assert list(layers_of(rows)) == [4, 8, 12]
    rows = journal_steps(tmp_path / "epochs" / "delve")
    assert list(rows) == [6, 12]
    assert not any(name.startswith("eval-") for name in rows[12])


def test_two_processes_count_as_one(tmp_path, expected):
    options = {
        "delve": {"save_to": "csv", "stats": STATS},
        "arguments": {"report_to": "none", "per_device_train_batch_size": 2},
    }
    run(tmp_path, scenario(tmp_path, **options, kill_at=12), ranks=2, expect=1)
    kept = {path.name for path in (tmp_path / "out" / "checkpoint-8").glob("delve-*")}
    assert kept == {"delve-0.pt", "delve-1.pt"}
    run(tmp_path, scenario(tmp_path, **options, resume=True), ranks=2)
    rows = layers_of(journal_steps(tmp_path / "out" / "delve"))
    assert csv_steps(tmp_path / "out" / "delve") == rows
    for step, row in expected.items():
        assert rows[step].keys() == row.keys()
        counts = {name: value for name, value in row.items() if "samples" in name}
        assert {name: rows[step][name] for name in counts} == counts
