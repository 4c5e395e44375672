"""Loops of Accelerate's, with the real accelerator, read back from each backend."""

import pytest
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
OF_ITS_OWN = {"delve": {"save_to": ["csv", "mlflow", "tensorboard", "wandb"], "stats": STATS}}
SHARED = {
    "log_with": LOGGERS,
    "delve": {"save_to": ["loggers", "csv"], "stats": STATS, "carry_scalars": True},
    "resume_loggers": True,
}


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
        scenario("plain", **SHARED),
        scenario("mixed", delve={"stats": STATS}, accelerator=exact),
        scenario("killed", **OF_ITS_OWN, kill_at=11),
        expect=-9,
    )
    run_trainings(
        PROGRAM,
        folder,
        scenario("killed", **OF_ITS_OWN, resume=True),
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


def test_a_killed_loop_goes_on_to_the_same_bits_in_every_backend(loops, expected):
    folder = loops / "killed" / "delve"
    assert layers_of(journal_steps(folder)) == expected
    assert layers_of(csv_steps(folder)) == expected
    assert nearly(tensorboard_steps(folder)) == nearly(expected)
    assert layer_rows(mlflow_curves(loops / "mlflow.db", "mixed_precision", "no")) == expected


def test_the_accelerators_runs_are_found_again(loops, expected):
    assert layer_rows(curves(loops, "found"), repeated={10}) == expected
    files = wandb_files(loops, "name", "found")
    assert wandb_steps(files, "delve/step") == expected


def test_carried_scalars_are_in_the_rows_and_not_again_in_the_accelerators_runs(loops):
    rows = journal_steps(loops / "plain" / "delve")
    losses = dict(curves(loops, "bare")["loss"])
    assert {step: row["loss"] for step, row in rows.items()} == {
        step: losses[step] for step in rows
    }


def test_accumulation_in_bf16(loops):
    rows = journal_steps(loops / "mixed" / "delve")
    assert list(rows) == [5, 10]
    assert rows[5]["train-samples/0"] == 40


def test_two_processes_count_as_one_whether_or_not_they_share_the_model(tmp_path, expected):
    options = {
        "out": str(tmp_path / "out"),
        "delve": {"save_to": "csv", "stats": STATS},
        "batch": 2,
        "name": "two",
    }
    sharded = {**options, "out": str(tmp_path / "sharded"), "sharded": True}
    run_trainings(PROGRAM, tmp_path, {**options, "kill_at": 11}, ranks=2, expect=1)
    kept = {path.name for path in (tmp_path / "out" / "state-8").glob("delve-*")}
    assert kept == {"delve-0.pt", "delve-1.pt"}
    run_trainings(PROGRAM, tmp_path, {**options, "resume": True}, ranks=2)
    run_trainings(PROGRAM, tmp_path, sharded, ranks=2)
    rows = layers_of(journal_steps(tmp_path / "out" / "delve"))
    assert csv_steps(tmp_path / "out" / "delve") == rows
    shared = layers_of(journal_steps(tmp_path / "sharded" / "delve"))
    for step, row in expected.items():
        for other in (rows[step], shared[step]):
            assert other == pytest.approx(row, rel=1e-5)
