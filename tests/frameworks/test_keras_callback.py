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
OWN = ["csv", "mlflow", "tensorboard", "wandb"]
SHARED = {"save_to": ["loggers", "csv"], "stats": STATS, "carry_scalars": True}
IN_BF16 = {"policy": "mixed_bfloat16", "accumulate": 2}


def of_its_own(name, **options):
    """Arguments for runs of Delve's own in all backends."""
    return {"save_to": OWN, "stats": STATS, "config": {"name": name}, **options}


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """The folder of all fits, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("fits")

    def scenario(name, **options):
        return {"out": str(folder / name), "name": name, **options}

    every = of_its_own("every", every=5, carry_scalars=True)
    run_trainings(
        PROGRAM,
        folder,
        scenario("bare", logged=True),
        scenario("plain", logged=True, delve=SHARED, witness=str(folder / "witness.pt")),
        scenario("five", delve={"stats": STATS, "every": 5}),
        scenario("every", delve=every, **IN_BF16),
        scenario("killed", delve=of_its_own("killed"), kill_at=2),
        expect=-9,
    )
    again = of_its_own("again", every=5, carry_scalars=True)
    run_trainings(
        PROGRAM,
        folder,
        scenario("killed", delve=of_its_own("killed")),
        scenario("again", delve=again, **IN_BF16, kill_at=2),
        expect=-9,
    )
    run_trainings(PROGRAM, folder, scenario("again", delve=again, **IN_BF16))
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


def of_delves_own(folder, name, axis="epoch"):
    """The rows of a run of Delve's own, which each backend in a folder holds once."""
    rows = journal_steps(folder / name / "delve")
    layers = layers_of(rows)
    assert csv_steps(folder / name / "delve") == rows
    assert nearly(tensorboard_steps(folder / name / "delve")) == nearly(rows)
    assert layer_rows(mlflow_curves(folder / "mlflow.db", "name", name)) == layers
    assert wandb_steps(wandb_files(folder, "name", name), axis) == layers
    return rows


def test_a_killed_fit_goes_on_to_the_same_bits_in_every_backend(fits, expected):
    assert of_delves_own(fits, "killed") == expected


def test_rows_of_batches_in_bf16_with_accumulation_go_on_to_the_same_bits(fits):
    rows = of_delves_own(fits, "every", "step")
    assert list(layers_of(rows)) == list(range(5, 49, 5))
    assert rows[10]["train-samples/head"] == 20
    assert rows[15]["eval-samples/head"] == 8  # of the validation after batch 12
    assert [step for step, row in rows.items() if "val_loss" in row] == [12, 24, 36, 48]
    assert of_delves_own(fits, "again", "step") == rows


def test_a_killed_fit_goes_on_in_the_users_runs_on_servers(servers, tmp_path, fits, expected):
    shared = {"out": str(tmp_path / "out"), "name": "a fit", "logged": True, "delve": SHARED}
    run_trainings(PROGRAM, tmp_path, {**shared, "kill_at": 2}, expect=-9, **servers.environment)
    run_trainings(PROGRAM, tmp_path, shared, **servers.environment)
    rows = journal_steps(tmp_path / "out" / "delve")
    assert layers_of(rows) == expected
    assert csv_steps(tmp_path / "out" / "delve") == rows == journal_steps(fits / "plain" / "delve")
    held = servers.curves("name", "a fit")
    assert layer_rows(held) == expected
    assert servers.wandb_rows("name", "a fit", "delve/epoch") == expected
    # The user's own curves.
    assert own(held) == own(mlflow_curves(fits / "mlflow.db", "name", "bare"))


# --- several processes, in which Keras itself has nothing to offer on PyTorch ---------------------


def test_keras_still_has_no_processes_on_pytorch():
    """What the page of the callback says of it."""
    import keras

    with pytest.raises(AttributeError):
        keras.distribution.list_devices()


def test_two_processes_count_as_one(servers, tmp_path, fits, expected):
    """Killed and gone on with; then by hand, as in Keras's guide."""
    out, by_hand = tmp_path / "out", tmp_path / "by hand"
    fit = {"out": str(out), "delve": of_its_own("two fits", every=5)}
    there = servers.environment
    run_trainings(PROGRAM, tmp_path, {**fit, "kill_at": 2}, ranks=2, expect=1, **there)
    kept = {path.name for path in (out / "delve" / "states" / "epoch-2").iterdir()}
    assert kept == {"delve-0.pt", "delve-1.pt"}
    loop = {"out": str(by_hand), "by_hand": True, "delve": {"save_to": "csv", "stats": STATS}}
    run_trainings(PROGRAM, tmp_path, fit, loop, ranks=2, **there)
    rows = journal_steps(out / "delve")
    assert csv_steps(out / "delve") == rows
    assert nearly(tensorboard_steps(out / "delve")) == nearly(rows)
    assert layer_rows(servers.curves("name", "two fits")) == rows
    assert servers.wandb_rows("name", "two fits", "step") == rows
    assert {path.name for path in (out / "delve" / "states").iterdir()} == {"epoch-3", "epoch-4"}
    assert_nearly_the_same(rows, journal_steps(fits / "five" / "delve"))
    assert_nearly_the_same(journal_steps(by_hand / "delve"), expected)


def assert_nearly_the_same(rows, wanted):
    """As sums over two processes add up in another order."""
    assert list(rows) == list(wanted)
    for step, row in wanted.items():
        assert rows[step] == pytest.approx(row, rel=1e-4)
