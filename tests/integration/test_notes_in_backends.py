"""What is wrong with a network stands in each backend, once a run; nothing where all is well."""

import pytest
import torch
from torch import nn

from delve import SaturationTracker
from delve.journal import run_notes

BROKEN, HEALTHY = "broken", "healthy"


def record(folder, save_to, kind, initial_epoch=0, **arguments):
    """Two epochs of a network whose first layer never exceeds 0, or of a healthy one."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)).eval()
    if kind == BROKEN:
        with torch.no_grad():
            model[0].bias[:30] = -50
    with SaturationTracker(
        folder, save_to, model, stats="health", initial_epoch=initial_epoch, **arguments
    ) as tracker:
        for _ in range(2):
            model(torch.randn(128, 8))
            tracker.add_saturations()
    return run_notes(folder)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    mlflow.set_tracking_uri(None)
    return mlflow


def mlflow_notes(mlflow):
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"])
    if "delve/notes.md" not in [f.path for f in client.list_artifacts(run.info.run_id, "delve")]:
        return None
    return mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/delve/notes.md")


def test_mlflow_has_them_as_an_artifact(tmp_path, store):
    told = record(tmp_path / "run", "mlflow", BROKEN)
    assert any("never exceed 0" in note for note in told)
    assert mlflow_notes(store) == "".join(f"- {note}\n" for note in told)
    assert record(tmp_path / "run", "mlflow", HEALTHY, initial_epoch="auto") == []
    assert mlflow_notes(store) == "nothing any more\n"


def test_mlflow_has_none_of_a_healthy_network(tmp_path, store):
    assert record(tmp_path / "run", "mlflow", HEALTHY) == []
    assert mlflow_notes(store) is None


def test_notes_of_delve_are_no_files_of_the_users(tmp_path, store):
    """A run that a resume replaces by a copy is deleted, unless its user has put files there."""
    from delve_mlflow.artifacts import holds_others
    from delve_mlflow.client import Client
    from delve_mlflow.patience import Patience

    record(tmp_path / "run", "mlflow", BROKEN)
    uri = store.get_tracking_uri()
    (run,) = store.MlflowClient().search_runs(["0"])
    client = Client(uri, Patience(uri))
    assert not holds_others(client, run)
    store.MlflowClient().log_text(run.info.run_id, "mine", "delve/mine.txt")
    assert holds_others(client, run)


def tensorboard_notes(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    if "delve/notes" not in events.Tags()["tensors"]:
        return None
    kind = events.SummaryMetadata("delve/notes").plugin_data.plugin_name
    assert kind == "text"
    return [event.tensor_proto.string_val[0].decode() for event in events.Tensors("delve/notes")]


def test_tensorboard_has_them_as_text(tmp_path):
    told = record(tmp_path, "tensorboard", BROKEN)
    assert tensorboard_notes(tmp_path) == ["\n".join(f"- {note}" for note in told)]
    assert record(tmp_path, "tensorboard", HEALTHY, initial_epoch="auto") == []
    assert tensorboard_notes(tmp_path)[-1] == "nothing any more"


def test_tensorboard_has_none_of_a_healthy_network(tmp_path):
    assert record(tmp_path, "tensorboard", HEALTHY) == []
    assert tensorboard_notes(tmp_path) is None


@pytest.mark.parametrize("kind", [BROKEN, HEALTHY])
def test_wandb_has_them_in_its_summary(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    told = record(tmp_path / "run", "wandb", kind)
    (stored,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    content = stored.read_bytes()
    assert (b"delve/notes" in content) == bool(told) == (kind == BROKEN)
    assert (b"never exceed 0" in content) == (kind == BROKEN)


def test_a_backend_that_cannot_take_them_loses_nothing(tmp_path, store, monkeypatch):
    """Where artifacts go is not writable: the numbers are there, and the run has ended well."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, where a folder is to be")
    experiment = store.create_experiment("blocked", artifact_location=str(blocked / "below"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    assert record(tmp_path / "run", "mlflow", BROKEN)
    (run,) = store.MlflowClient().search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["eval-dormant-share/0"] >= 30 / 32
