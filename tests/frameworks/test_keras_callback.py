"""The callback for Keras: fits with the real Keras on PyTorch, read back from each backend."""

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
    wandb_files,
    wandb_steps,
)
from support.trainer_processes import run_trainings

pytest.importorskip("keras")
pytest.importorskip("delve_keras")
PROGRAM = "keras_runs.py"
STATS = ["lsat", "n", "trc"]
LAYERS = ["maps", "series", "head", "logits"]
OF_ITS_OWN = {
    "delve": {
        "save_to": ["csv", "mlflow", "tensorboard", "wandb"],
        "stats": STATS,
        "config": {"name": "killed"},
    }
}
EVERY_FIVE = {
    "delve": {"save_to": "csv", "stats": STATS, "every": 5, "carry_scalars": True},
    "policy": "mixed_bfloat16",
    "accumulate": 2,
}


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """The folder of all fits, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("fits")

    def scenario(name, **options):
        return {"out": str(folder / name), "name": name, **options}

    shared = {"save_to": ["loggers", "csv"], "stats": STATS, "carry_scalars": True}
    run_trainings(
        PROGRAM,
        folder,
        scenario("bare", logged=True),
        scenario("plain", logged=True, delve=shared, witness=str(folder / "witness.pt")),
        scenario("every", **EVERY_FIVE),
        scenario("killed", **OF_ITS_OWN, kill_at=2),
        expect=-9,
    )
    run_trainings(
        PROGRAM,
        folder,
        scenario("killed", **OF_ITS_OWN),
        scenario("again", **EVERY_FIVE, kill_at=2),
        expect=-9,
    )
    run_trainings(PROGRAM, folder, scenario("again", **EVERY_FIVE))
    return folder


@pytest.fixture
def expected(fits):
    return layers_of(journal_steps(fits / "plain" / "delve"))


def test_a_row_is_an_epoch_with_its_validation(fits):
    rows = journal_steps(fits / "plain" / "delve")
    assert list(rows) == [0, 1, 2, 3]
    for row in rows.values():
        assert {f"{mode}-samples/{name}" for mode in ("train", "eval") for name in LAYERS} <= set(
            row
        )
        assert row["train-samples/maps"] == 48 * 4 * 4  # channels are Keras's last dimension
        assert row["train-samples/series"] == 48
        assert row["eval-samples/head"] == 8  # without what `predict` passed


def test_the_values_are_those_of_an_independent_computation(fits, expected):
    seen = torch.load(fits / "witness.pt")
    for epoch, row in expected.items():
        for mode in ("train", "eval"):
            outputs = [output for at, other, output in seen if (at, other) == (epoch, mode)]
            samples = torch.cat(outputs).numpy()
            values = np.linalg.eigvalsh(np.cov(samples.T))[::-1]
            shares = np.cumsum(values) / values.sum()
            saturation = (int((shares < 0.99).sum()) + 1) / samples.shape[1]
            assert row[f"{mode}-saturation/head"] == saturation
            assert row[f"{mode}-samples/head"] == len(samples)


def test_each_backend_of_the_user_holds_each_row_once(fits, expected):
    assert layers_of(csv_steps(fits / "plain" / "delve")) == expected
    assert layer_rows(mlflow_curves(fits / "mlflow.db", "name", "plain")) == expected
    assert wandb_steps(wandb_files(fits, "name", "plain"), "delve/epoch") == expected


def test_the_users_own_curves_are_as_without_delve(fits):
    curves = [own(mlflow_curves(fits / "mlflow.db", "name", name)) for name in ("plain", "bare")]
    assert curves[0] == curves[1]
    assert set(curves[1]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    rows = [users_rows(wandb_files(fits, "name", name)) for name in ("plain", "bare")]
    assert rows[0] == rows[1]
    assert [step for step, _ in rows[1]] == [0, 10, 20, 30]


def own(points):
    return {name: sorted(found) for name, found in points.items() if not is_of_layer(name)}


def users_rows(files):
    picked = [
        (step, {name: value for name, value in row.items() if not is_delves(name)})
        for file in files
        for step, row in file.rows.items()
    ]
    return [(step, row) for step, row in picked if row]


def is_delves(name):
    return is_of_layer(name) or name.startswith("delve/")


def test_carried_logs_are_in_the_rows(fits):
    bare = mlflow_curves(fits / "mlflow.db", "name", "bare")
    rows = journal_steps(fits / "plain" / "delve")
    for name in ("loss", "val_accuracy"):
        assert {step: row[name] for step, row in rows.items()} == dict(bare[name])


def test_a_killed_fit_goes_on_to_the_same_bits_in_every_backend(fits, expected):
    folder = fits / "killed" / "delve"
    assert layers_of(journal_steps(folder)) == expected
    assert layers_of(csv_steps(folder)) == expected
    assert nearly(tensorboard_steps(folder)) == nearly(expected)
    assert layer_rows(mlflow_curves(fits / "mlflow.db", "name", "killed")) == expected
    assert wandb_steps(wandb_files(fits, "name", "killed"), "epoch") == expected


def test_rows_of_batches_in_bf16_with_accumulation_go_on_to_the_same_bits(fits):
    rows = journal_steps(fits / "every" / "delve")
    assert list(layers_of(rows)) == list(range(5, 49, 5))
    assert rows[10]["train-samples/head"] == 20
    assert rows[15]["eval-samples/head"] == 8  # of the validation after batch 12
    assert [step for step, row in rows.items() if "val_loss" in row] == [12, 24, 36, 48]
    assert journal_steps(fits / "again" / "delve") == rows
    assert csv_steps(fits / "again" / "delve") == rows
