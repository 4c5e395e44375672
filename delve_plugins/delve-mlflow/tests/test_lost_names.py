"""The journal has lost its last line, and with it the names that were new in it; MLflow has not."""

import json

import pytest
import torch
from mlflow import MlflowClient
from mlflow_runs import in_force
from mlflow_server import history
from torch import nn

from delve import SaturationTracker
from delve.testing import journal_entries, journal_rows, run_id, train

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture(params=["store", "file_store"])
def backend(request):
    return request.getfixturevalue(request.param)


def behead(folder):
    """Take the last epoch's line away, and all behind it."""
    path = folder / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if json.loads(line)["type"] == "epoch")
    path.write_text("".join(lines[:last]), encoding="utf-8")


def the_run(folder):
    (run,) = in_force(run_id(folder))
    return run


def points(run, key):
    return sorted(point.step for point in MlflowClient().get_metric_history(run.info.run_id, key))


def test_a_name_that_only_mlflow_kept_is_cut_with_its_epoch(tmp_path, backend):
    """ "new" comes at epoch 2 for the first time; a user's own points stay."""
    train(tmp_path / "a", "mlflow", range(2))
    net = nn.Linear(4, 2)
    with SaturationTracker(tmp_path / "a", "mlflow", net, initial_epoch=2) as tracker:
        net(torch.randn(30, 4))
        tracker.add_scalar("new", 0.5)
        tracker.add_saturations()
    assert history(the_run(tmp_path / "a").info.run_id)[2]["new"] == 0.5
    stamp = journal_entries(tmp_path / "a")[2]["time"]
    behead(tmp_path / "a")
    client, before = MlflowClient(), the_run(tmp_path / "a")
    client.log_metric(before.info.run_id, "mine", 1.0, step=2, timestamp=stamp + 7)
    client.log_metric(before.info.run_id, "mine", 2.0, step=9)
    train(tmp_path / "a", "mlflow", range(2, 6))
    run = the_run(tmp_path / "a")
    assert points(run, "mine") == [2, 9]
    held = {
        epoch: {name: value for name, value in row.items() if name != "mine"}
        for epoch, row in history(run.info.run_id).items()
    }
    assert {epoch: row for epoch, row in held.items() if row} == journal_rows(tmp_path / "a")
    assert "new" not in run.data.metrics


def test_an_epoch_of_new_names_alone_is_cut(tmp_path, backend):
    """As the accuracy that is logged after the training, and stands for an epoch of its own."""
    folder = tmp_path / "a"
    with SaturationTracker(folder, "mlflow", nn.Linear(2, 2)) as tracker:
        for epoch in range(3):
            tracker.add_scalar("loss", 1 / (epoch + 1))
            tracker.save()
        tracker.add_scalar("test accuracy", 0.5)
    behead(folder)
    for _ in range(2):  # the second finds nothing to cut
        with SaturationTracker(folder, "mlflow", nn.Linear(2, 2), initial_epoch=3) as tracker:
            tracker.add_scalar("loss", 0.25)
            tracker.save()
        run = the_run(folder)
        assert points(run, "loss") == [0, 1, 2, 3]
        assert points(run, "test accuracy") == []
