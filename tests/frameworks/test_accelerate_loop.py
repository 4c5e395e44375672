"""Loops of Accelerate's, with the real accelerator, read back from each backend."""

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
    wandb_files,
    wandb_steps,
)
from support.trainer_processes import run_trainings

pytest.importorskip("accelerate")
pytest.importorskip("delve_accelerate")
PROGRAM = "accelerate_runs.py"
STATS = ["lsat", "n", "trc"]
LOGGERS = ["mlflow", "tensorboard", "wandb"]
OWN = ["csv", "mlflow", "tensorboard", "wandb"]
SHARED = {
    "log_with": LOGGERS,
    "delve": {"save_to": ["loggers", "csv"], "stats": STATS, "carry_scalars": True},
    "resume_loggers": True,
}


def of_its_own(name):
    """Arguments for runs of Delve's own in all backends."""
    return {"save_to": OWN, "stats": STATS, "config": {"name": name}}


@pytest.fixture(scope="module")
def loops(tmp_path_factory):
    """The folder of all loops, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("loops")

    def scenario(name, **options):
        return {"out": str(folder / name), "name": name, **options}

    exact = {"gradient_accumulation_steps": 2, "mixed_precision": "bf16"}
    run_trainings(
        PROGRAM,
        folder,
        scenario("bare", log_with=LOGGERS),
        scenario("plain", **SHARED, witness=str(folder / "witness.pt")),
        scenario("mixed", delve=of_its_own("mixed"), accelerator=exact),
        scenario("killed", delve=of_its_own("killed"), kill_at=11),
        expect=-9,
    )
    run_trainings(
        PROGRAM,
        folder,
        scenario("killed", delve=of_its_own("killed"), resume=True),
        scenario("found", **SHARED, kill_at=11),
        expect=-9,
    )
    run_trainings(PROGRAM, folder, scenario("found", **SHARED, resume=True))
    return folder


@pytest.fixture
def expected(loops):
    return layers_of(journal_steps(loops / "plain" / "delve"))


def curves(loops, name):
    return mlflow_curves(loops / "mlflow.db", "name", name)


def test_rows_are_where_the_loop_takes_them(loops):
    rows = journal_steps(loops / "plain" / "delve")
    assert list(rows) == [5, 10, 15, 20]
    assert rows[10]["train-samples/0"] == 20
    assert rows[10]["eval-samples/0"] == 8


def test_the_values_are_those_of_an_independent_computation(loops, expected):
    seen = torch.load(loops / "witness.pt")
    outputs = {
        is_train: torch.cat([output for mode, output in seen if mode == is_train]).numpy()
        for is_train in (True, False)
    }
    for number, row in enumerate(expected.values()):
        for mode, count in (("train", 20), ("eval", 8)):
            samples = outputs[mode == "train"][number * count : (number + 1) * count]
            covariance = np.cov(samples.T, bias=True)
            values = np.linalg.eigvalsh(covariance)[::-1]
            shares = np.cumsum(values) / values.sum()
            saturation = (int((shares < 0.99).sum()) + 1) / samples.shape[1]
            assert row[f"{mode}-saturation/2"] == saturation
            assert row[f"{mode}-samples/2"] == count
            np.testing.assert_allclose(
                row[f"{mode}-covariance-trace/2"], covariance.trace(), rtol=1e-6
            )


def test_each_backend_of_the_accelerator_holds_each_row_once(loops, expected):
    assert layers_of(csv_steps(loops / "plain" / "delve")) == expected
    assert nearly(layers_of(tensorboard_steps(loops / "plain" / "delve"))) == nearly(expected)
    assert layer_rows(curves(loops, "plain")) == expected
    assert wandb_steps(wandb_files(loops, "name", "plain"), "delve/step") == expected


def test_the_trainers_own_curves_are_as_without_delve(loops):
    assert own(curves(loops, "plain")) == own(curves(loops, "bare"))
    assert list(own(curves(loops, "bare"))) == ["loss"]
    boards = [users_tensorboard(loops / name) for name in ("plain", "bare")]
    assert own(boards[0]) == own(boards[1])
    rows = [users_rows(wandb_files(loops, "name", name)) for name in ("plain", "bare")]
    assert rows[0] == rows[1]
    assert len(rows[1]) == 24


def own(points):
    return {name: sorted(found) for name, found in points.items() if not is_of_layer(name)}


def users_rows(files):
    picked = [
        (step, {name: value for name, value in row.items() if name == "loss"})
        for file in files
        for step, row in file.rows.items()
    ]
    return [(step, row) for step, row in picked if row]


def of_delves_own(folder, name):
    """The rows of a run of Delve's own, which each backend in a folder holds once."""
    rows = journal_steps(folder / name / "delve")
    assert csv_steps(folder / name / "delve") == rows
    assert nearly(tensorboard_steps(folder / name / "delve")) == nearly(rows)
    assert layer_rows(curves(folder, name)) == rows
    assert wandb_steps(wandb_files(folder, "name", name), "step") == rows
    return rows


def test_a_killed_loop_goes_on_to_the_same_bits_in_every_backend(loops, expected):
    assert of_delves_own(loops, "killed") == expected


def test_the_accelerators_runs_are_found_again(loops, expected):
    assert layer_rows(curves(loops, "found"), repeated={10}) == expected
    files = wandb_files(loops, "name", "found")
    assert wandb_steps(files, "delve/step") == expected


def test_carried_scalars_are_in_the_rows_and_not_again_in_the_accelerators_runs(loops):
    losses = dict(curves(loops, "bare")["loss"])
    for name, repeated in (("plain", []), ("found", [9, 10])):  # behind the checkpoint of step 8
        rows = journal_steps(loops / name / "delve")
        assert {step: row["loss"] for step, row in rows.items()} == {
            step: losses[step] for step in rows
        }
        logged = sorted(step for step, _ in curves(loops, name)["loss"])
        assert logged == sorted([*losses, *repeated])  # by the accelerator alone


def test_accumulation_in_bf16(loops):
    rows = of_delves_own(loops, "mixed")
    assert list(rows) == [5, 10]
    assert rows[5]["train-samples/0"] == 40


def test_a_killed_loop_goes_on_in_its_runs_on_servers(servers, tmp_path, expected):
    """Its checkpoint is written before the row of its step, to which it does not come back."""
    shared = {**SHARED, "out": str(tmp_path / "out"), "name": "on servers", "saves_first": True}
    run_trainings(PROGRAM, tmp_path, {**shared, "kill_at": 11}, expect=-9, **servers.environment)
    run_trainings(PROGRAM, tmp_path, {**shared, "resume": True}, **servers.environment)
    rows = journal_steps(tmp_path / "out" / "delve")
    assert layers_of(rows) == expected
    assert csv_steps(tmp_path / "out" / "delve") == rows
    held = servers.curves("name", "on servers")
    assert layer_rows(held) == expected
    assert servers.wandb_rows("name", "on servers", "delve/step") == expected
    # The accelerator's own. W&B itself loses the last seconds of a process that is killed.
    assert sorted(step for step, _ in held["loss"]) == list(range(1, 25))
    (stored,) = servers.wandb_runs("name", "on servers")
    losses = [row["loss"] for row in stored.rows if "loss" in row]
    assert losses[-14:] == [value for step, value in sorted(held["loss"]) if step > 10]


def test_two_processes_count_as_one_whether_or_not_they_share_the_model(
    servers, tmp_path, expected
):
    options = {
        "out": str(tmp_path / "out"),
        "delve": of_its_own("two loops"),
        "batch": 2,
        "name": "two loops",
    }
    sharded = {**options, "out": str(tmp_path / "sharded"), "sharded": True}
    sharded["delve"] = {"save_to": "csv", "stats": STATS}
    there = servers.environment
    run_trainings(PROGRAM, tmp_path, {**options, "kill_at": 11}, ranks=2, expect=1, **there)
    kept = {path.name for path in (tmp_path / "out" / "state-8").glob("delve-*")}
    assert kept == {"delve-0.pt", "delve-1.pt"}
    run_trainings(PROGRAM, tmp_path, {**options, "resume": True}, ranks=2, **there)
    run_trainings(PROGRAM, tmp_path, sharded, ranks=2)  # which meet once in Accelerate's life
    rows = journal_steps(tmp_path / "out" / "delve")
    assert csv_steps(tmp_path / "out" / "delve") == rows
    assert nearly(tensorboard_steps(tmp_path / "out" / "delve")) == nearly(rows)
    assert layer_rows(servers.curves("name", "two loops")) == rows
    assert servers.wandb_rows("name", "two loops", "step") == rows
    shared = layers_of(journal_steps(tmp_path / "sharded" / "delve"))
    assert list(rows) == list(shared) == list(expected)
    for step, row in expected.items():
        for other in (rows[step], shared[step]):
            assert other == pytest.approx(row, rel=1e-5)
