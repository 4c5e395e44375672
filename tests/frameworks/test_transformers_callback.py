"""The callback for Transformers: trainings with the real Trainer, read back from each backend."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from packaging.version import Version
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
from support.trainer_processes import run_trainings

VERSION = Version(pytest.importorskip("transformers").__version__)
pytest.importorskip("delve_transformers")
PROGRAM = "transformers_runs.py"
STATS = ["lsat", "n", "trc"]
LOGGERS = ["mlflow", "tensorboard", "wandb"]
EVALUATIONS = [5, 10, 15, 20]
if VERSION.major > 4:
    EVALUATIONS.append(24)  # at the end
CLOCK = ("runtime", "per_second")  # parts of names of what no two trainings have alike

BY_EPOCHS = {
    "report_to": "none",
    "gradient_accumulation_steps": 2,
    "bf16": True,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "logging_steps": 5,
}
OWN = ["csv", "mlflow", "tensorboard", "wandb"]
OF_ITS_OWN = {"delve": {"save_to": OWN, "stats": STATS}, "arguments": {"report_to": "none"}}
FOUND_AGAIN = {
    "delve": {
        "stats": STATS,
        "resume_loggers": True,
        "carry_scalars": True,
        "save_to": ["csv", "loggers"],
    },
    "arguments": {"report_to": ["mlflow", "wandb"]},
}


class Training(NamedTuple):
    """What a training has left.

    Attributes:
        folder: That of all of them.
        out: Its own.
    """

    folder: Path
    out: Path

    @property
    def run(self):
        return self.out / "delve"

    @property
    def curves(self):
        return mlflow_curves(self.folder / "mlflow.db", "output_dir", str(self.out))

    @property
    def wandb(self):
        return wandb_files(self.folder, "output_dir", str(self.out))


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    """All trainings of one process, by name: a process is begun as rarely as kills allow."""
    folder = tmp_path_factory.mktemp("trainings")

    def scenario(name, **options):
        return {"out": str(folder / name), **options}

    carried = {"save_to": OWN, "stats": STATS, "carry_scalars": True}
    run_trainings(
        PROGRAM,
        folder,
        scenario("bare", arguments={"report_to": LOGGERS}),
        scenario(
            "plain",
            delve={"save_to": ["loggers", "csv"], "stats": STATS},
            arguments={"report_to": LOGGERS},
            witness=str(folder / "witness.pt"),
        ),
        scenario("accumulated", delve=carried, arguments=BY_EPOCHS, two=True),
        scenario("every", delve={**carried, "every": 4}, arguments=BY_EPOCHS),
        scenario("epochs", delve={"stats": STATS}, arguments={**BY_EPOCHS, "eval_strategy": "no"}),
        scenario("killed", **OF_ITS_OWN, kill_at=12),
        expect=-9,
    )
    assert list(journal_steps(folder / "killed" / "delve")) == [5, 10]
    assert (folder / "killed" / "checkpoint-8" / "delve-0.pt").exists()
    run_trainings(
        PROGRAM,
        folder,
        scenario("killed", **OF_ITS_OWN, resume=True),
        scenario("found", **FOUND_AGAIN, kill_at=12),
        expect=-9,
    )
    run_trainings(PROGRAM, folder, scenario("found", **FOUND_AGAIN, resume=True))
    names = ("bare", "plain", "accumulated", "every", "epochs", "killed", "found")
    return {name: Training(folder, folder / name) for name in names}


@pytest.fixture
def plain(trainings):
    """A training with Delve in the runs of the Trainer's loggers."""
    return trainings["plain"]


@pytest.fixture
def expected(plain):
    return layers_of(journal_steps(plain.run))


def test_a_row_is_taken_at_each_evaluation(plain):
    rows = journal_steps(plain.run)
    assert list(rows) == EVALUATIONS
    assert all(set(row) == set(rows[5]) for row in rows.values())
    assert rows[10]["eval-samples/bert.pooler.dense"] == 8
    assert rows[10]["train-samples/bert.pooler.dense"] == 5 * 4


def test_the_values_are_those_of_an_independent_computation(plain, expected):
    seen = torch.load(plain.folder / "witness.pt")
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
    assert layers_of(csv_steps(plain.run)) == expected
    assert nearly(tensorboard_steps(plain.run)) == nearly(expected)
    assert layer_rows(plain.curves) == expected
    assert len(plain.wandb) == 1
    assert wandb_steps(plain.wandb, "delve/step") == expected


def test_the_trainers_own_curves_are_as_without_delve(plain, trainings):
    bare = trainings["bare"]
    assert own(plain.curves) == own(bare.curves)
    assert own(users_tensorboard(plain.out)) == own(users_tensorboard(bare.out))
    assert users_rows(plain.wandb) == users_rows(bare.wandb)
    assert len(users_rows(bare.wandb)) > 10


def own(curves):
    picked = {
        name: sorted(points)
        for name, points in curves.items()
        if not is_of_layer(name) and not any(part in name for part in CLOCK)
    }
    assert picked
    return picked


def users_rows(files):
    """The rows that the Trainer logged, without what Delve added to them."""
    picked = [
        {
            name: value
            for name, value in row.items()
            if not is_of_layer(name)
            and not name.startswith("delve/")
            and not any(part in name for part in CLOCK)
        }
        for file in files
        for row in rows_of(file)
    ]
    return [row for row in picked if row]


def test_a_killed_training_goes_on_to_the_same_bits_in_every_backend(trainings, expected):
    assert of_delves_own(trainings["killed"]) == expected


def of_delves_own(training):
    """The rows of a run of Delve's own, which each backend holds once."""
    rows = journal_steps(training.run)
    layers = layers_of(rows)
    assert csv_steps(training.run) == rows
    assert nearly(tensorboard_steps(training.run)) == nearly(rows)
    assert layer_rows(training.curves) == layers
    assert wandb_steps(training.wandb, "step") == layers
    return rows


def test_the_trainers_runs_are_found_again(trainings, expected):
    found = trainings["found"]
    # MLflow cannot drop a point: that of the redone row stands there twice, with one value.
    assert layer_rows(found.curves, repeated={10}) == expected
    # Of the killed process W&B itself keeps nothing of its last seconds, and Delve's rows of then
    # are fed again.
    assert wandb_steps(found.wandb, "delve/step") == expected


def test_carried_scalars_are_exact_and_the_trainers_runs_get_them_once(trainings):
    found, bare = trainings["found"], trainings["bare"]
    carried = journal_steps(found.run)
    assert csv_steps(found.run) == carried
    # The Trainer's own `loss` is another at step 9: it averages since the checkpoint, not since
    # the step that it logged last.
    for name, redone in (("eval_loss", 10), ("learning_rate", 9), ("loss", 9)):
        curve = {step: row[name] for step, row in carried.items() if name in row}
        wanted = dict(bare.curves[name])
        assert list(curve) == list(wanted)
        if name == "loss":
            del curve[redone], wanted[redone]
        assert curve == wanted
        # By the Trainer alone, whose MLflow may lose the last moment of a process that is killed.
        steps, once = sorted(step for step, _ in found.curves[name]), list(dict(bare.curves[name]))
        assert steps in (once, sorted([*once, redone]))


def test_accumulation_in_bf16_and_two_data_sets(trainings):
    rows = of_delves_own(trainings["accumulated"])
    assert list(layers_of(rows)) == [6, 12]
    assert rows[6]["train-samples/bert.pooler.dense"] == 48
    assert rows[6]["eval-samples/bert.pooler.dense"] == 8 + 4
    assert "eval_a_loss" in rows[12]
    assert "eval_b_loss" in rows[12]
    assert [step for step, row in rows.items() if "loss" in row] == [5, 10]
    assert not {"train_loss", "epoch"} & set().union(*rows.values())


def test_rows_every_so_many_steps_or_at_epochs(trainings):
    rows = journal_steps(trainings["every"].run)
    assert list(layers_of(rows)) == [4, 8, 12]
    assert rows[8]["train-samples/bert.pooler.dense"] == 4 * 2 * 4
    rows = journal_steps(trainings["epochs"].run)
    assert list(rows) == [6, 12]
    assert not any(name.startswith("eval-") for name in rows[12])


def test_a_killed_training_goes_on_in_its_runs_on_servers(servers, tmp_path, expected):
    out = str(tmp_path / "out")
    shared = {"out": out, **FOUND_AGAIN}
    run_trainings(PROGRAM, tmp_path, {**shared, "kill_at": 12}, expect=-9, **servers.environment)
    run_trainings(PROGRAM, tmp_path, {**shared, "resume": True}, **servers.environment)
    assert layer_rows(servers.curves("output_dir", out), repeated={10}) == expected
    assert servers.wandb_rows("output_dir", out, "delve/step") == expected
    assert layers_of(journal_steps(tmp_path / "out" / "delve")) == expected


@pytest.mark.skipif(VERSION.major < 5, reason="it cannot load a checkpoint of two CPU processes")
def test_two_processes_count_as_one(servers, tmp_path, expected):
    options = {
        "out": str(tmp_path / "out"),
        "delve": {"save_to": OWN, "stats": STATS},
        "arguments": {
            "report_to": "none",
            "per_device_train_batch_size": 2,
            "per_device_eval_batch_size": 4,
        },
    }
    there = servers.environment
    run_trainings(PROGRAM, tmp_path, {**options, "kill_at": 12}, ranks=2, expect=1, **there)
    kept = {path.name for path in (tmp_path / "out" / "checkpoint-8").glob("delve-*")}
    assert kept == {"delve-0.pt", "delve-1.pt"}
    run_trainings(PROGRAM, tmp_path, {**options, "resume": True}, ranks=2, **there)
    rows = journal_steps(tmp_path / "out" / "delve")
    assert csv_steps(tmp_path / "out" / "delve") == rows
    assert nearly(tensorboard_steps(tmp_path / "out" / "delve")) == nearly(rows)
    assert layer_rows(servers.curves("output_dir", options["out"])) == rows
    assert servers.wandb_rows("output_dir", options["out"], "step") == rows
    assert list(rows) == EVALUATIONS
    for step, row in expected.items():
        assert rows[step].keys() == row.keys()
        counts = {name: value for name, value in row.items() if "samples" in name}
        assert {name: rows[step][name] for name in counts} == counts
