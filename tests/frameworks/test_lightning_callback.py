"""The callback for Lightning: trainings with the real Trainer, read back from each backend."""

import csv
import json
import os
import shutil
import signal
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
    rows_of,
    tensorboard_steps,
    users_tensorboard,
    wandb_files,
    wandb_steps,
)

pytest.importorskip("lightning")
pytest.importorskip("delve_lightning")
SCRIPT = Path(__file__).parents[1] / "support" / "lightning_runs.py"
STATS = ["lsat", "n", "trc"]
OWN = ["csv", "mlflow", "tensorboard", "wandb"]
EVALUATIONS = [11, 23, 35]  # as Lightning's own loggers have them, one behind the steps taken
BY_STEPS = {"every_n_train_steps": 5, "filename": "{step}"}


def run(folder, *scenarios, expect=0, **variables):
    """Train one after another in a process, with backends in a folder."""
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "WANDB_SILENT": "true",
        "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "0.05",
        "CUDA_VISIBLE_DEVICES": "",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(json.dumps, scenarios)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == expect, done.stderr[-4000:]
    assert "goes on without it" not in done.stderr
    return done.stderr


def all_loggers(out, folder, **wandb):
    """Each of Lightning's, with folders of its own."""
    return {
        "TensorBoardLogger": {"save_dir": str(out / "tb"), "name": "a", "version": 0},
        "CSVLogger": {"save_dir": str(out / "csv"), "name": "a", "version": 0},
        "MLFlowLogger": {"tracking_uri": f"sqlite:///{folder}/mlflow.db"},
        "WandbLogger": {"save_dir": str(out), "id": f"id-{out.name}", **wandb},
    }


def loggers_without_ids(out, folder):
    """The same; what the earlier runs are called, the journal knows."""
    loggers = all_loggers(out, folder)
    del loggers["WandbLogger"]["id"]
    return loggers


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def of_the_trainer(row):
    return {
        name: value
        for name, value in row.items()
        if not is_of_layer(name) and not name.startswith("delve/")
    }


def witnessed(path, first, last, is_train, ranks=1):
    """The trace of the covariance of the last layer's outputs, from these steps on."""
    seen = [item for rank in range(ranks) for item in torch.load(f"{path}.{rank}")]
    outputs = [output for step, mode, output in seen if mode == is_train and first <= step <= last]
    samples = torch.cat(outputs).numpy()
    return len(samples), float(np.cov(samples.T, bias=True).trace())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trainings that nothing befalls, one after another in one process."""
    folder = tmp_path_factory.mktemp("trained")
    without, beside = folder / "without", folder / "beside"
    stats = {"stats": STATS}
    scenarios = [
        {"out": without, "loggers": all_loggers(without, folder)},
        {
            "out": beside,
            "loggers": all_loggers(beside, folder),
            "delve": {**stats, "savefile": f"{beside}/delve"},
            "checkpoints": {},
            "witness": f"{beside}/seen",
        },
        {
            "out": folder / "steps",
            "delve": {
                **stats,
                "save_to": OWN,
                "every": 3,
                "carry_scalars": True,
                "savefile": f"{folder}/steps/delve",
            },
            "loggers": {"CSVLogger": {"save_dir": str(folder / "steps"), "version": 0}},
            "trainer": {"precision": "bf16-mixed", "accumulate_grad_batches": 2},
            "witness": f"{folder}/steps/seen",
        },
        {
            "out": folder / "pruned",
            "delve": {**stats, "save_to": ["csv", "mlflow"], "every": 5},
            "prune_at": 1,
        },
        {
            "out": folder / "shared",
            "delve": {
                **stats,
                "save_to": ["csv", "npy", "tensorboard"],
                "savefile": f"{folder}/shared/lightning_logs/version_0",
            },
            "loggers": {
                "CSVLogger": {"save_dir": str(folder / "shared"), "version": 0},
                "TensorBoardLogger": {"save_dir": str(folder / "shared"), "version": 0},
            },
        },
        {
            "out": folder / "whole",
            "delve": {**stats, "save_to": OWN, "every": 4, "savefile": f"{folder}/whole/delve"},
            "checkpoints": BY_STEPS,
        },
        {"out": folder / "epochs", "delve": stats, "validates": False},
        {"out": folder / "epochs", "delve": stats, "validates": False},
        {"out": folder / "quick", "delve": stats, "trainer": {"fast_dev_run": True}},
    ]
    for scenario in scenarios:
        out = scenario["out"] = str(scenario["out"])
        scenario["hparams"] = {"mark": Path(out).name, "nested": {"width": 5}}
        Path(out).mkdir(exist_ok=True)
    run(folder, *scenarios)
    return folder


def test_the_trainers_own_curves_are_as_without_delve(trained):
    database = trained / "mlflow.db"
    before, after = (mlflow_curves(database, "mark", name) for name in ("without", "beside"))
    assert before
    assert before == {name: points for name, points in after.items() if not is_of_layer(name)}
    tables = [
        table(trained / name / "csv/a/version_0/metrics.csv") for name in ("without", "beside")
    ]
    assert tables[0] == tables[1]
    curves = [users_tensorboard(trained / name / "tb") for name in ("without", "beside")]
    assert curves[0] == curves[1]
    assert "val_loss" in curves[0]
    logged = [
        [
            (
                step,
                {name: row[name] for name in row if not is_of_layer(name) and "delve" not in name},
            )
            for step, row in sorted(file.rows.items())
        ]
        for mark in ("without", "beside")
        for file in wandb_files(trained, "mark", mark)
    ]
    logged[1] = [(step, row) for step, row in logged[1] if row]
    assert logged[0] == logged[1]


def test_the_trainers_own_runs_get_each_row_once(trained):
    rows = journal_steps(trained / "beside/delve")
    assert list(rows) == EVALUATIONS
    assert csv_steps(trained / "beside/delve") == rows
    assert tensorboard_steps(trained / "beside/delve") == nearly(rows)
    assert layer_rows(mlflow_curves(trained / "mlflow.db", "mark", "beside")) == rows
    assert wandb_steps(wandb_files(trained, "mark", "beside"), "delve/step") == rows
    assert "delve/step" not in mlflow_curves(trained / "mlflow.db", "mark", "beside")


def test_a_row_is_of_the_passes_since_the_last(trained):
    rows = journal_steps(trained / "beside/delve")
    for first, last in ((0, 11), (12, 23), (24, 35)):
        for mode, is_train in (("train", True), ("eval", False)):
            count, trace = witnessed(trained / "beside/seen", first, last, is_train)
            assert rows[last][f"{mode}-samples/net.2"] == count
            np.testing.assert_allclose(rows[last][f"{mode}-covariance-trace/net.2"], trace, 1e-6)


def test_every_so_many_steps_with_accumulation_in_bf16(trained):
    rows = journal_steps(trained / "steps/delve")
    layers = layers_of(rows)
    assert list(layers) == [2, 5, 8, 11, 14, 17]
    for step, row in layers.items():
        count, trace = witnessed(trained / "steps/seen", step - 2, step, is_train=True)
        assert row["train-samples/net.2"] == count == 24
        np.testing.assert_allclose(row["train-covariance-trace/net.2"], trace, 1e-6)
    assert csv_steps(trained / "steps/delve") == rows
    assert tensorboard_steps(trained / "steps/delve") == nearly(rows)
    assert layer_rows(mlflow_curves(trained / "mlflow.db", "mark", "steps")) == layers
    assert wandb_steps(wandb_files(trained, "mark", "steps"), "step") == layers


def test_carried_scalars_are_those_of_lightnings_loggers(trained):
    rows = journal_steps(trained / "steps/delve")
    logged = {}
    for line in table(trained / "steps/lightning_logs/version_0/metrics.csv"):
        values = {name: float(cell) for name, cell in line.items() if cell}
        step = int(values.pop("step"))
        logged.setdefault(step, {}).update(values)
    for row in logged.values():
        del row["epoch"]
    carried = {
        step: {name: value for name, value in row.items() if not is_of_layer(name)}
        for step, row in rows.items()
    }
    assert {step: row for step, row in carried.items() if row} == logged


def test_a_pruned_trial_ends_well_with_its_last_row(trained):
    (folder,) = (trained / "pruned").glob("**/delve")
    assert list(journal_steps(folder)) == [4, 9, 14, 19, 23]
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{trained}/mlflow.db")
    (found,) = client.search_runs(["0"], "params.mark = 'pruned'")
    assert found.info.status == "FINISHED"
    assert found.data.params["nested.width"] == "5"


def test_beside_lightnings_loggers_in_one_folder_all_go_on(trained):
    folder = trained / "shared/lightning_logs/version_0"
    assert csv_steps(folder, "metrics-delve.csv") == journal_steps(folder)
    theirs = table(folder / "metrics.csv")
    wanted = table(trained / "without/csv/a/version_0/metrics.csv")
    assert theirs == wanted
    assert users_tensorboard(folder) == users_tensorboard(trained / "without/tb")
    assert tensorboard_steps(folder) == nearly(journal_steps(folder))


def test_without_validation_rows_come_at_epochs_and_no_run_takes_anothers_place(trained):
    folders = [trained / "epochs" / name for name in ("delve", "delve-2")]
    assert [list(journal_steps(folder)) for folder in folders] == [EVALUATIONS] * 2
    assert csv_steps(folders[0]) == csv_steps(folders[1])


def test_a_quick_run_leaves_nothing(trained):
    assert not list((trained / "quick").iterdir())


# --- a kill in the middle of an epoch ------------------------------------------------------------


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """Trainings that were killed in a batch, and went on from a checkpoint in mid-epoch."""
    folder = tmp_path_factory.mktemp("resumed")
    killed, shared, early = (folder / name for name in ("killed", "shared", "early"))
    found_again = {"stats": STATS, "resume_loggers": True}
    scenarios = [
        {
            "out": str(killed),
            "delve": {"stats": STATS, "save_to": OWN, "every": 4, "savefile": f"{killed}/delve"},
            "checkpoints": BY_STEPS,
            "hparams": {"mark": "killed"},
            "kill_at": 16,
        },
        {
            "out": str(shared),
            "delve": {**found_again, "savefile": f"{shared}/delve"},
            "checkpoints": BY_STEPS,
            "loggers": loggers_without_ids(shared, folder),
            "hparams": {"mark": "shared"},
            "kill_at": 26,
        },
        {
            "out": str(early),
            "delve": {**found_again, "savefile": f"{early}/delve"},
            "checkpoints": BY_STEPS,
            "loggers": loggers_without_ids(early, folder),
            "hparams": {"mark": "early"},
            "kill_at": 16,
        },
    ]
    checkpoints = ("step=15.ckpt", "step=20.ckpt", "step=10.ckpt")  # the last before any row
    for scenario in scenarios:
        Path(scenario["out"]).mkdir()
        run(folder, scenario, expect=-signal.SIGKILL)
    for scenario, checkpoint in zip(scenarios, checkpoints, strict=True):
        del scenario["kill_at"]
        scenario["resume"] = checkpoint
    run(folder, *scenarios)
    return folder


def test_a_killed_training_goes_on_to_the_same_bits(trained, resumed):
    wanted = journal_steps(trained / "whole/delve")
    assert list(wanted) == [3, 7, 11, 15, 19, 23, 27, 31, 35]
    assert journal_steps(resumed / "killed/delve") == wanted


def test_after_it_backends_of_delves_own_hold_each_row_once(resumed):
    run_folder = resumed / "killed/delve"
    rows = journal_steps(run_folder)
    assert csv_steps(run_folder) == rows
    assert tensorboard_steps(run_folder) == nearly(rows)
    assert layer_rows(mlflow_curves(resumed / "mlflow.db", "mark", "killed")) == rows
    assert wandb_steps(wandb_files(resumed, "mark", "killed"), "step") == rows


def test_lightnings_own_runs_go_on_and_what_was_redone_is_marked(resumed, trained):
    rows = journal_steps(resumed / "shared/delve")
    assert rows == journal_steps(trained / "beside/delve")
    curves = mlflow_curves(resumed / "mlflow.db", "mark", "shared")  # which asserts: one run
    assert layer_rows(curves, repeated={23}) == rows
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{resumed}/mlflow.db")
    (found,) = client.search_runs(["0", "1", "2"], "params.mark = 'shared'")
    (mark,) = [tag for name, tag in found.data.tags.items() if name.startswith("delve.void.")]
    assert json.loads(mark)[0]["from_step"] == 12
    files = wandb_files(resumed, "mark", "shared")
    assert wandb_steps(files, "delve/step") == rows
    attempts = [row.get("delve/attempt") for row in rows_of(files[-1]) if "delve/step" in row]
    assert attempts == [1, 1]


def test_rows_that_a_checkpoint_of_before_the_first_is_followed_by_are_marked(resumed, trained):
    rows = journal_steps(resumed / "early/delve")
    assert rows == journal_steps(trained / "beside/delve")
    curves = mlflow_curves(resumed / "mlflow.db", "mark", "early")
    assert layer_rows(curves, repeated={11}) == rows
    files = wandb_files(resumed, "mark", "early")
    assert wandb_steps(files, "delve/step") == rows
    marks = [
        [row.get("delve/attempt") for row in rows_of(file) if "delve/step" in row] for file in files
    ]
    assert marks == [[None], [1, 1, 1]]


# --- several processes ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parallel(tmp_path_factory, servers):
    """Trainings of two processes, by DDP and by FSDP2, killed in mid-epoch and gone on with."""
    folder = tmp_path_factory.mktemp("parallel")

    def scenario(name, strategy="ddp", **more):
        out = folder / name
        out.mkdir(exist_ok=True)
        return {
            "out": str(out),
            "delve": {
                "stats": STATS,
                "save_to": OWN if name == "again" else "csv",
                "savefile": f"{out}/delve",
                "every": 4,
            },
            "trainer": {"devices": 2, "strategy": strategy, "max_epochs": 2},
            "hparams": {"mark": name},
            "checkpoints": BY_STEPS,
            **more,
        }

    sharded = scenario("sharded", sharded=True)
    resumed = {"resume": "step=5.ckpt"}
    there, killed = servers.environment, -signal.SIGKILL
    whole = scenario("whole", witness=f"{folder}/whole/seen")
    run(folder, whole, scenario("again", kill_at=7), expect=killed, **there)
    run(folder, scenario("again", **resumed), {**sharded, "kill_at": 7}, expect=killed, **there)
    run(folder, {**sharded, **resumed})
    (folder / "alone").mkdir()
    shutil.copytree(folder / "whole/checkpoints", folder / "alone/checkpoints")
    alone = {
        "out": f"{folder}/alone",
        "delve": {"stats": STATS, "savefile": f"{folder}/whole/delve", "every": 4},
        "trainer": {"max_steps": 8},
        **resumed,
    }
    shutil.copytree(folder / "whole", folder / "kept")
    run(folder, alone)
    return folder


def test_two_processes_make_one_row(parallel):
    rows = journal_steps(parallel / "kept/delve")
    assert list(rows) == [3, 7, 11]
    for step, row in rows.items():
        count, trace = witnessed(parallel / "whole/seen", step - 3, step, True, ranks=2)
        assert row["train-samples/net.2"] == count == 32
        np.testing.assert_allclose(row["train-covariance-trace/net.2"], trace, 1e-6)
    assert csv_steps(parallel / "kept/delve") == rows


def test_two_processes_go_on_with_a_state_each_in_every_backend(parallel, servers):
    rows = journal_steps(parallel / "again/delve")
    assert rows == journal_steps(parallel / "kept/delve")
    assert csv_steps(parallel / "again/delve") == rows
    assert tensorboard_steps(parallel / "again/delve") == nearly(rows)
    assert layer_rows(servers.curves("mark", "again")) == rows
    assert servers.wandb_rows("mark", "again", "step") == rows


def test_a_model_that_two_processes_share_has_the_same_rows(parallel):
    rows, wanted = (journal_steps(parallel / name / "delve") for name in ("sharded", "kept"))
    assert csv_steps(parallel / "sharded/delve") == rows
    assert list(rows) == list(wanted)
    for step, row in wanted.items():
        assert rows[step] == pytest.approx(row, rel=1e-5)


def test_one_process_goes_on_where_two_have_stopped(parallel):
    rows = journal_steps(parallel / "whole/delve")
    assert list(rows) == [3, 7]
    assert rows[3] == journal_steps(parallel / "kept/delve")[3]
    # The step of before the checkpoint in two processes, and three more in one.
    assert rows[7]["train-samples/net.2"] == 2 * 4 + 3 * 4


# --- servers, and the other package ---------------------------------------------------------------


def test_a_killed_training_goes_on_in_its_runs_on_servers(servers, tmp_path, trained):
    """With `pytorch_lightning`, from a checkpoint behind the last row."""
    pytest.importorskip("pytorch_lightning")
    scenario = {
        "package": "pytorch_lightning",
        "out": str(tmp_path),
        "delve": {"stats": STATS, "savefile": f"{tmp_path}/delve", "resume_loggers": True},
        "loggers": {
            "MLFlowLogger": {"tracking_uri": servers.environment["MLFLOW_TRACKING_URI"]},
            "WandbLogger": {"save_dir": str(tmp_path)},
        },
        "hparams": {"mark": "served"},
        "checkpoints": BY_STEPS,
    }
    there = servers.environment
    run(tmp_path, {**scenario, "kill_at": 26}, expect=-signal.SIGKILL, **there)
    run(tmp_path, {**scenario, "resume": "step=25.ckpt"}, **there)
    rows = journal_steps(tmp_path / "delve")
    assert rows == journal_steps(trained / "beside/delve")
    curves = servers.curves("mark", "served")  # which asserts: one run
    assert layer_rows(curves) == rows
    assert [step for step, _ in curves["val_loss"]] == EVALUATIONS
    (stored,) = servers.wandb_runs("mark", "served")
    assert servers.wandb_rows("mark", "served", "delve/step") == rows
    losses = [row["trainer/global_step"] for row in stored.rows if "val_loss" in row]
    assert losses[-1] == EVALUATIONS[-1]
