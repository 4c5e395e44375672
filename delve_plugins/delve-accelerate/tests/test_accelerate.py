"""The tracker of a loop, with the real accelerator."""

import os
import subprocess
import sys

import pytest
import torch

from delve import SaturationTracker
from delve.errors import ArgumentError, WriterNotFoundError
from delve.testing import journal_entries

accelerate = pytest.importorskip("accelerate")
pytest.importorskip("delve_csv")
delve_accelerate = pytest.importorskip("delve_accelerate")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def accelerator(tmp_path):
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    return accelerate.Accelerator(project_dir=str(tmp_path), cpu=True)


@pytest.fixture
def model(accelerator):
    return accelerator.prepare(torch.nn.Linear(4, 3))


def entries(folder):
    return list(journal_entries(folder / "delve").values())


def test_without_any_argument_it_records_to_csv(accelerator, model, tmp_path):
    tracker = delve_accelerate.track(accelerator, model)
    assert tracker.tracker is None
    for step in (2, 4):
        model(torch.randn(8, 4))
        tracker.add_saturations(step=step)
    accelerator.end_training()
    assert [entry["step"] for entry in entries(tmp_path)] == [2, 4]
    table = (tmp_path / "delve" / "metrics.csv").read_text().splitlines()
    assert table[0] == "epoch,step,train-saturation/Linear-0"


def test_without_steps_the_axis_is_the_epoch(accelerator, model, tmp_path):
    with delve_accelerate.track(accelerator, model, every=2, stats=["n"]) as tracker:
        for _ in range(4):
            model(torch.randn(8, 4))
            tracker.add_saturations()
    assert [entry["metrics"] for entry in entries(tmp_path)] == [{"train-samples/Linear-0": 16}] * 2
    assert all("step" not in entry for entry in entries(tmp_path))


def test_scalars_modes_and_masks_are_those_of_the_tracker(accelerator, model, tmp_path):
    tracker = delve_accelerate.track(
        accelerator, model, stats=["n"], timeseries_method="timestepwise"
    )
    with tracker.mode("eval"):
        model(torch.randn(8, 4))
    with tracker.mask(torch.tensor([[1, 1, 0], [1, 0, 0]])):
        model(torch.randn(2, 3, 4))
    tracker.add_scalar("accuracy", 0.5)
    tracker.add_saturations()
    accelerator.end_training()
    (entry,) = entries(tmp_path)
    assert entry["metrics"] == {"train-samples/Linear-0": 3, "eval-samples/Linear-0": 8}
    assert entry["scalars"] == {"accuracy": 0.5}


def test_what_is_logged_is_carried_into_the_next_row(accelerator, model, tmp_path):
    tracker = delve_accelerate.track(accelerator, model, carry_scalars=True)
    for step in (1, 2, 3):
        model(torch.randn(8, 4))
        accelerator.log({"loss": 1 / step, "note": "text"}, step=step)
    tracker.add_saturations(step=3)
    accelerator.log({"loss": 9.0}, step=4)
    accelerator.end_training()
    (entry,) = entries(tmp_path)
    assert entry["scalars"] == {"loss": 1 / 3}


def test_runs_are_named_until_the_training_has_begun(accelerator, model, tmp_path, monkeypatch):
    pytest.importorskip("delve_mlflow")
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    with mlflow.start_run() as theirs:
        run = {"mlflow": {"run_id": theirs.info.run_id}}
        with SaturationTracker(tmp_path / "delve", "mlflow", model, writer_args=run) as tracker:
            tracker.add_scalar("accuracy", 0.5)
    delve_accelerate.resume_loggers(accelerator)
    assert os.environ["MLFLOW_RUN_ID"] == theirs.info.run_id
    delve_accelerate.track(accelerator, model)
    model(torch.randn(8, 4))
    assert "MLFLOW_RUN_ID" not in os.environ
    accelerator.end_training()


def test_a_configuration_that_comes_later_is_the_runs(accelerator, model, tmp_path):
    delve_accelerate.track(accelerator, model, config={"seed": 3})
    accelerator.init_trackers("any", {"lr": 0.1})
    model(torch.randn(8, 4))
    accelerator.end_training()
    header = (tmp_path / "delve" / "journal.jsonl").read_text().splitlines()[0]
    assert '"lr": 0.1' in header
    assert '"seed": 3' in header
    assert '"mixed_precision": "no"' in header


def test_a_checkpoint_without_a_state_goes_on_behind_the_last_row(
    accelerator, model, tmp_path, caplog
):
    accelerator.save_state(str(tmp_path / "before"))
    first = delve_accelerate.track(accelerator, model)
    model(torch.randn(8, 4))
    first.add_saturations(step=1)
    first.close()
    second = delve_accelerate.track(accelerator, model)
    accelerator.load_state(str(tmp_path / "before"))
    assert "holds no state of Delve" in caplog.text
    model(torch.randn(8, 4))
    second.add_saturations(step=2)
    accelerator.end_training()
    assert [entry["step"] for entry in entries(tmp_path)] == [1, 2]


def test_going_back_in_one_process_voids_later_rows(accelerator, model, tmp_path):
    tracker = delve_accelerate.track(accelerator, model, stats=["n"])
    for step in range(1, 6):
        model(torch.randn(8, 4))
        if step % 2 == 0:
            tracker.add_saturations(step=step)
        if step == 3:
            accelerator.save_state(str(tmp_path / "third"))
    accelerator.load_state(str(tmp_path / "third"))
    model(torch.randn(5, 4))
    tracker.add_saturations(step=4)
    accelerator.end_training()
    samples = {
        entry["step"]: entry["metrics"]["train-samples/Linear-0"] for entry in entries(tmp_path)
    }
    assert samples == {2: 16, 4: 8 + 5}


def loop(accelerator, model, folder, steps, begin=None, comes_again=False, **options):
    """Rows at even steps, each after a checkpoint of its step; ``begin`` is one to go on from."""

    def evaluate(step):
        model.eval()
        with torch.no_grad():
            model(torch.randn(3, 4))
        tracker.add_saturations(**({"step": step} if options.get("has_steps", True) else {}))
        model.train()

    arguments = {"stats": ["n"], "carry_scalars": True, "every": options.get("every", 1)}
    tracker = delve_accelerate.track(accelerator, model, **arguments)
    if begin is not None:
        accelerator.load_state(str(folder / f"state-{begin}"))
        if comes_again:
            evaluate(begin)
    for step in range((begin or 0) + 1, steps + 1):
        model(torch.randn(8, 4))
        accelerator.log({"loss": float(step)}, step=step)
        if step % 2 == 0:
            accelerator.save_state(str(folder / f"state-{step}"))
            evaluate(step)
    tracker.close()
    assert not model._forward_pre_hooks
    return [(entry.get("step"), entry["metrics"], entry["scalars"]) for entry in entries(folder)]


@pytest.mark.parametrize("comes_again", [False, True])
@pytest.mark.parametrize("has_steps", [True, False])
def test_a_row_behind_the_checkpoint_of_its_step_is_there_once(
    accelerator, model, tmp_path, comes_again, has_steps
):
    options = {"has_steps": has_steps}
    rows = loop(accelerator, model, tmp_path, 6, **options)
    samples = {"train-samples/Linear-0": 16, "eval-samples/Linear-0": 3}
    assert rows == [
        (step if has_steps else None, samples, {"loss": float(step)}) for step in (2, 4, 6)
    ]
    for _ in range(2):  # once more from the same one
        assert loop(accelerator, model, tmp_path, 6, 4, comes_again, **options) == rows


def test_a_call_that_recorded_nothing_leaves_the_checkpoint_its_samples(
    accelerator, model, tmp_path
):
    rows = loop(accelerator, model, tmp_path, 8, every=2, has_steps=False)
    assert [row["train-samples/Linear-0"] for _, row, _ in rows] == [32, 32]
    again = loop(accelerator, model, tmp_path, 8, 6, True, every=2, has_steps=False)
    assert again == rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"stat": ["lsat"]}, "did you mean 'stats'"), ({"ends_well": 3}, "ends_well must be classes")],
)
def test_a_mistake_is_raised_at_once(accelerator, model, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        delve_accelerate.track(accelerator, model, **arguments)


def test_a_run_needs_a_place(accelerator, model):
    accelerator.project_configuration.project_dir = None
    with pytest.raises(ArgumentError, match="give savefile="):
        delve_accelerate.track(accelerator, model)


def test_what_only_the_run_tells_is_raised_at_the_first_pass(accelerator, model):
    delve_accelerate.track(accelerator, model, "csvv")
    with pytest.raises(WriterNotFoundError):
        model(torch.randn(8, 4))


def test_a_failure_stops_no_training(accelerator, model, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("no such luck")

    monkeypatch.setattr(SaturationTracker, "add_saturations", fail)
    tracker = delve_accelerate.track(accelerator, model)
    for step in (1, 2):
        model(torch.randn(8, 4))
        tracker.add_saturations(step=step)
    accelerator.end_training()
    assert caplog.text.count("the training goes on without it") == 1


def test_nothing_is_left_on_the_model(accelerator, model):
    tracker = delve_accelerate.track(accelerator, model)
    model(torch.randn(8, 4))
    tracker.close()
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert not accelerator._save_model_state_pre_hook


def test_the_import_costs_nothing_else():
    code = (
        "import sys, accelerate, delve\n"
        "before = set(sys.modules)\n"
        "import delve_accelerate\n"
        "print([m for m in ('mlflow', 'wandb', 'tensorboard', 'delve_csv', 'transformers') "
        "if m in set(sys.modules) - before])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_it_is_found_in_delve_itself():
    import delve

    if not hasattr(delve, "accelerate"):
        pytest.skip("the distribution is not installed")
    assert delve.accelerate is delve_accelerate
