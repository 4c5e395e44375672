"""A run that the user names, as a trainer's logger has one that is not MLflow's active run."""

import json
import logging

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow_runs import BEGUN, LAYER, Recording, rows
from mlflow_server import copy_store
from torch import nn

from delve import SaturationTracker
from delve.delivery.export import export
from delve.errors import ArgumentError, WriterConfigurationError
from delve.testing import journal_rows, train

pytestmark = pytest.mark.usefixtures("store")


def trainers_run(client=None):
    """A run like that of Lightning's logger: made with a client, active nowhere."""
    client = client or MlflowClient()
    run = client.create_run("0")
    for step in (99, 199):
        client.log_metric(run.info.run_id, "val_loss", step / 100, step=step)
    client.log_param(run.info.run_id, "lr", "0.1")
    return run.info.run_id


def points(run_id, key, client=None):
    history = (client or MlflowClient()).get_metric_history(run_id, key)
    return sorted((point.step, point.value) for point in history)


def test_a_named_run_gets_delves_metrics_and_nothing_else(tmp_path):
    run_id = trainers_run()
    before = MlflowClient().get_run(run_id)
    arguments = {"mlflow": {"run_id": run_id}}
    train(tmp_path / "a", "mlflow", range(3), writer_args=arguments, config={"lr": 3, "new": 1})
    after = MlflowClient().get_run(run_id)
    assert [run.info.run_id for run in MlflowClient().search_runs(["0"])] == [run_id]
    assert after.data.params == before.data.params == {"lr": "0.1"}
    assert after.info.status == "RUNNING"
    assert points(run_id, "val_loss") == [(99, 0.99), (199, 1.99)]
    key = "train-saturation/0"
    held = dict(points(run_id, key))
    assert held == {epoch: row[key] for epoch, row in journal_rows(tmp_path / "a").items()}


def test_a_store_elsewhere_is_reached_and_the_active_run_here_left_alone(tmp_path, empty_store):
    (tmp_path / "other").mkdir()
    uri = copy_store(empty_store, tmp_path / "other")
    elsewhere = MlflowClient(uri)
    run_id = trainers_run(elsewhere)
    with mlflow.start_run() as active:
        train(
            tmp_path / "a", "mlflow", range(2), writer_args={"run_id": run_id, "tracking_uri": uri}
        )
        train(tmp_path / "b", "mlflow", range(2), writer_args={"tracking_uri": uri})
    assert not MlflowClient().get_run(active.info.run_id).data.metrics
    assert points(run_id, "train-saturation/0", elsewhere)
    (made,) = [run for run in elsewhere.search_runs(["0"]) if run.info.run_id != run_id]
    assert made.data.tags["delve.savefile"] == str(tmp_path / "b")
    assert made.info.status == "FINISHED"


def test_what_its_owner_sends_is_left_out_now_and_when_it_is_fed_again(tmp_path):
    run_id = trainers_run()
    names = set()  # grows as the trainer logs
    arguments = {"run_id": run_id, "leave_out": names}

    def log(tracker):
        names.add("val_loss")
        tracker.add_scalar("val_loss", 7.0)
        tracker.add_scalar("mine", 8.0)
        tracker.add_saturations()

    model = nn.Linear(2, 2)
    with SaturationTracker(tmp_path / "a", "mlflow", model, writer_args=arguments) as tracker:
        log(tracker)
    assert points(run_id, "val_loss") == [(99, 0.99), (199, 1.99)]
    assert points(run_id, "mine") == [(0, 8.0)]
    assert journal_rows(tmp_path / "a") == {0: {"val_loss": 7.0, "mine": 8.0}}
    again = {"run_id": trainers_run()}  # another run of the trainer's, which lacks all
    with SaturationTracker(
        tmp_path / "a", "mlflow", model, writer_args=again, initial_epoch=1
    ) as tracker:
        tracker.add_scalar("mine", 9.0)
        tracker.save()
    assert points(again["run_id"], "val_loss") == [(99, 0.99), (199, 1.99)]
    assert points(again["run_id"], "mine") == [(0, 8.0), (1, 9.0)]
    assert [outcome.error for outcome in export(tmp_path / "a", "mlflow")] == [None]
    assert points(again["run_id"], "val_loss") == [(99, 0.99), (199, 1.99)]


def test_a_run_of_delves_own_gets_what_is_left_out_elsewhere(tmp_path):
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1, val_loss=1.0), arguments={"leave_out": ["val_loss"]})
    assert points(run.state["run_id"], "val_loss") == [(0, 1.0), (1, 1.0)]


def test_epochs_that_were_redone_are_marked(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    named = {"run_id": trainers_run()}
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1, 2, 3), arguments=named)
    run.record({2: {LAYER: 0.9}}, 2, arguments=named)
    run.record({1: {LAYER: 0.8}}, 1, arguments=named)
    tags = MlflowClient().get_run(named["run_id"]).data.tags
    marks = json.loads(tags[f"delve.void.{run.run_id}"])
    assert [mark["from_step"] for mark in marks] == [2, 1]
    assert all(mark["before"] > BEGUN + 3 for mark in marks)
    assert "MLflow cannot drop points" in caplog.text


def test_what_an_earlier_run_of_the_folder_has_left_is_marked(tmp_path):
    named = {"run_id": trainers_run()}
    train(tmp_path / "a", "mlflow", range(3), writer_args=named)
    train(tmp_path / "a", "mlflow", range(2), writer_args=named)
    train(tmp_path / "b", "mlflow", range(2), writer_args=named)
    client = MlflowClient()
    tags = client.get_run(named["run_id"]).data.tags
    (mark,) = [json.loads(tags[tag]) for tag in tags if tag.startswith("delve.void.")]
    times = [p.timestamp for p in client.get_metric_history(named["run_id"], "train-saturation/0")]
    assert mark[0]["from_step"] == 0
    assert sum(time < mark[0]["before"] for time in times) == 3


def test_no_mark_where_nothing_became_void(tmp_path):
    named = {"run_id": trainers_run()}
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1), arguments=named)
    run.record(rows(2), 2, arguments=named)
    tags = MlflowClient().get_run(named["run_id"]).data.tags
    assert not [tag for tag in tags if tag.startswith("delve.void.")]
    assert points(named["run_id"], LAYER) == [(0, 0.0), (1, 0.1), (2, 0.2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"run_id": 3}, "run_id must be the id"),
        ({"run_id": "../x"}, "run_id must be the id"),
        ({"tracking_uri": 3}, "tracking_uri must be"),
        ({"tracking_uri": ""}, "tracking_uri must be"),
        ({"leave_out": "val_loss"}, "leave_out must be names"),
        ({"leave_out": 3}, "leave_out must be names"),
    ],
)
def test_a_mistake_is_told_before_a_file_is_touched(tmp_path, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        train(tmp_path / "a", "mlflow", range(1), writer_args=arguments)
    assert not (tmp_path / "a").exists()


def test_a_run_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WriterConfigurationError, match=r"0{32}.*run_id"):
        train(tmp_path / "a", "mlflow", range(1), writer_args={"run_id": "0" * 32})
