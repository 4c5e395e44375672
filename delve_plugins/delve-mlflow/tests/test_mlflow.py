import contextlib
import logging
import math
import os
import socket
import subprocess
import sys
import time
import traceback

import mlflow
import pytest
import torch
from delve_mlflow.keys import clean_key
from delve_mlflow.limits import LIMITS
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow_server import copy_store, history
from torch import nn

from delve import SaturationTracker
from delve.delivery.export import export
from delve.errors import ArgumentError, WriterConfigurationError
from delve.testing import fast_retries, journal_rows

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def train(folder, model, epochs, initial_epoch=0, value=lambda epoch: epoch / 7, **arguments):
    tracker = SaturationTracker(folder, "mlflow", model, initial_epoch=initial_epoch, **arguments)
    for epoch in epochs:
        model(torch.randn(30, 4) + epoch)
        tracker.add_scalar("accuracy", value(epoch))
        if epoch % 3 == 2:
            tracker.add_scalar("rare", epoch)
        tracker.add_saturations()
    return tracker


def runs(view=ViewType.ACTIVE_ONLY):
    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, run_view_type=view)


def the_run(folder=None):
    """The only run in the store, or the only one that records this folder."""
    found = runs()
    if folder is not None:
        found = [run for run in found if run.data.tags.get("delve.savefile") == str(folder)]
    (run,) = found
    return run


def closed_port():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return closed.getsockname()[1]


def assert_same_as_journal(folder, run_id=None):
    assert history(run_id or the_run(folder).info.run_id) == journal_rows(folder)


# --- a fresh run ---------------------------------------------------------------------------------


def test_a_fresh_run_is_one_finished_run_with_every_epoch(tmp_path, model):
    config = {"lr": 0.1, "model": {"width": 3}, "note": "x" * 7000}
    train(tmp_path / "a", model, range(4), config=config).close()
    run = the_run()
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "a"
    assert run.data.tags["delve.savefile"] == str(tmp_path / "a")
    assert run.data.tags["mlflow.source.name"]
    assert run.data.params == {"lr": "0.1", "model.width": "3", "note": "x" * 6000}
    assert_same_as_journal(tmp_path / "a")


def test_without_any_setting_the_store_is_mlflows_default(tmp_path, model):
    train(tmp_path / "a", model, range(1)).close()
    assert mlflow.get_tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    assert_same_as_journal(tmp_path / "a")


def test_an_exception_marks_the_run_as_failed(tmp_path, model):
    tracker = train(tmp_path / "a", model, range(2))
    tracker.close(RuntimeError("out of memory"))
    assert the_run().info.status == "FAILED"


def test_a_run_in_progress_shows_every_saved_epoch(tmp_path, model):
    tracker = train(tmp_path / "a", model, range(2))
    assert the_run().info.status == "RUNNING"
    assert set(history(the_run().info.run_id)) == {0, 1}
    tracker.close()


def test_nan_and_infinity_are_stored_as_mlflow_can(tmp_path, model):
    values = [math.nan, math.inf, -math.inf]
    train(tmp_path / "a", model, range(3), value=values.__getitem__).close()
    rows = history(the_run().info.run_id)
    assert math.isnan(rows[0]["accuracy"])
    assert rows[1]["accuracy"] == sys.float_info.max
    assert rows[2]["accuracy"] == -sys.float_info.max


@pytest.mark.parametrize(
    "name", ["../x", "a//b", "/abs", "a:b", "loss (%)", "x" * 300, "🙂", "a\nb", ".", "a/", " "]
)
def test_a_name_that_mlflow_refuses_is_cleaned_and_loses_nothing(tmp_path, model, name):
    with SaturationTracker(tmp_path / "a", "mlflow", model) as tracker:
        tracker.add_scalar(name, 1.0)
        tracker.add_scalar("other", 2.0)
        tracker.save()
    assert history(the_run().info.run_id) == {0: {clean_key(name): 1.0, "other": 2.0}}


def test_two_names_never_become_one_key(tmp_path, model):
    names = ["a(b", "a)b", "a_b", "x" * 300, "x" * 301]
    with SaturationTracker(tmp_path / "a", "mlflow", model) as tracker:
        for number, name in enumerate(names):
            tracker.add_scalar(name, number)
    rows = history(the_run().info.run_id)
    assert sorted(rows[0].values()) == [0, 1, 2, 3, 4]


def test_one_batch_an_epoch(tmp_path, model, monkeypatch):
    """Not one request a metric, which costs a hundred times more."""
    batches = []
    original = MlflowClient.log_batch

    def counting(self, run_id, metrics=(), params=(), tags=(), synchronous=None):
        batches.append(len(metrics))
        return original(self, run_id, metrics, params, tags, synchronous)

    tracker = train(tmp_path / "a", model, [])
    monkeypatch.setattr(MlflowClient, "log_batch", counting)
    monkeypatch.setattr(MlflowClient, "log_metric", None)
    model(torch.randn(9, 4))
    tracker.add_scalar("accuracy", 1)
    tracker.add_saturations()
    assert batches == [3]
    tracker.close()


# --- what the user has set -----------------------------------------------------------------------


def test_the_users_active_run_is_used_and_not_ended(tmp_path, model):
    with mlflow.start_run() as active:
        mlflow.log_param("lr", 0.5)
        train(tmp_path / "a", model, range(2), config={"lr": 0.5, "width": 3}).close()
        assert mlflow.active_run().info.run_id == active.info.run_id
        assert MlflowClient().get_run(active.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("mine", 1.0)
    assert the_run().data.params == {"lr": "0.5", "width": "3"}
    assert history(active.info.run_id)[1]["accuracy"] == 1 / 7


def test_the_users_own_later_run_can_be_started_beside_ours(tmp_path, model):
    tracker = train(tmp_path / "a", model, range(1))
    with mlflow.start_run() as own:
        mlflow.log_metric("mine", 1.0)
    tracker.close()
    assert {run.info.run_id for run in runs()} > {own.info.run_id}


def test_the_experiment_of_the_user_is_used(tmp_path, model, monkeypatch):
    mlflow.set_experiment("by function")
    train(tmp_path / "a", model, range(1)).close()
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by variable")
    train(tmp_path / "b", model, range(1)).close()
    client = MlflowClient()
    for name in ("by function", "by variable"):
        experiment = client.get_experiment_by_name(name)
        assert len(client.search_runs([experiment.experiment_id])) == 1


def test_the_run_that_the_environment_names_is_used(tmp_path, model, monkeypatch):
    run = MlflowClient().create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    train(tmp_path / "a", model, range(2)).close()
    assert the_run().info.status == "RUNNING"
    assert_same_as_journal(tmp_path / "a", run.info.run_id)


def test_an_experiment_that_does_not_exist_is_named_at_once(tmp_path, model, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "4711")
    with pytest.raises(WriterConfigurationError, match="MLFLOW_EXPERIMENT_ID"):
        train(tmp_path / "a", model, [])


def test_a_left_over_mlruns_folder_is_explained(tmp_path, model):
    (tmp_path / "mlflow.db").unlink()
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("experiment_id: '0'\nname: Default\n")
    with pytest.raises(WriterConfigurationError, match=r"sqlite:///mlflow\.db"):
        train(tmp_path / "a", model, [])


def test_the_users_own_calls_keep_mlflows_own_patience(tmp_path, model):
    train(tmp_path / "a", model, range(1)).close()
    assert not set(LIMITS) & set(os.environ)


# --- resuming ------------------------------------------------------------------------------------


def test_a_run_without_later_points_goes_on_as_it_is(tmp_path, model):
    train(tmp_path / "a", model, range(3)).close()
    before = the_run()
    tracker = train(tmp_path / "a", model, range(3, 5), initial_epoch=3)
    assert the_run().info.run_id == before.info.run_id
    assert the_run().info.status == "RUNNING"
    tracker.close()
    assert the_run().info.status == "FINISHED"
    assert_same_as_journal(tmp_path / "a")


def test_a_run_with_later_points_is_replaced_by_a_copy_without(tmp_path, model):
    train(tmp_path / "a", model, range(6), config={"lr": 0.1}).close()
    old = the_run()
    train(tmp_path / "a", model, range(4, 7), initial_epoch=4, value=lambda epoch: -epoch).close()
    new = the_run()
    assert new.info.run_id != old.info.run_id
    assert new.info.run_name == old.info.run_name
    assert new.data.params == old.data.params
    assert new.data.tags["delve.resumed_from"] == old.info.run_id
    assert new.data.tags["delve.run_id"] == old.data.tags["delve.run_id"]
    assert "delve.state" not in new.data.tags
    assert history(new.info.run_id)[4]["accuracy"] == -4
    assert_same_as_journal(tmp_path / "a")
    (deleted,) = runs(ViewType.DELETED_ONLY)
    assert deleted.info.run_id == old.info.run_id
    assert deleted.data.tags["delve.superseded_by"] == new.info.run_id


def test_a_replaced_run_that_was_deleted_for_good_is_not_missed(tmp_path, model, store):
    train(tmp_path / "a", model, range(4)).close()
    train(tmp_path / "a", model, range(2, 4), initial_epoch=2).close()
    subprocess.run(
        [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", store],
        env=os.environ | {"MLFLOW_TRACKING_URI": store},
        capture_output=True,
        check=True,
    )
    assert runs(ViewType.DELETED_ONLY) == []
    train(tmp_path / "a", model, range(4, 5), initial_epoch=4).close()
    assert_same_as_journal(tmp_path / "a")


def test_a_replaced_run_that_the_user_brought_back_stays(tmp_path, model):
    train(tmp_path / "a", model, range(4)).close()
    old = the_run().info.run_id
    train(tmp_path / "a", model, range(2, 4), initial_epoch=2).close()
    MlflowClient().restore_run(old)
    train(tmp_path / "a", model, range(4, 5), initial_epoch=4).close()
    (new,) = {run.info.run_id for run in runs()} - {old}
    assert MlflowClient().get_run(old).info.lifecycle_stage == "active"
    assert_same_as_journal(tmp_path / "a", new)


def test_a_copied_point_keeps_its_time(tmp_path, model):
    def times():
        points = MlflowClient().get_metric_history(the_run().info.run_id, "accuracy")
        return {point.step: point.timestamp for point in points}

    train(tmp_path / "a", model, range(4)).close()
    before = times()
    train(tmp_path / "a", model, [], initial_epoch=2).close()
    assert times() == {step: before[step] for step in (0, 1)}


def test_a_replaced_run_that_holds_more_than_delves_metrics_is_not_deleted(tmp_path, model):
    train(tmp_path / "a", model, range(4)).close()
    old = the_run().info.run_id
    MlflowClient().log_metric(old, "mine", 1.5, step=99)
    train(tmp_path / "a", model, range(2, 3), initial_epoch=2).close()
    kept = MlflowClient().get_run(old)
    (new,) = [run.info.run_id for run in runs() if run.info.run_id != old]
    assert kept.info.lifecycle_stage == "active"
    assert kept.data.tags["delve.superseded_by"] == new
    assert history(new)[99] == {"mine": 1.5}


def test_a_run_resumed_many_times_holds_each_epoch_once(tmp_path, model):
    train(tmp_path / "a", model, range(5)).close()
    for begin, end in ((3, 6), (6, 7), (5, 8), (1, 2), (2, 4)):
        train(tmp_path / "a", model, range(begin, end), initial_epoch=begin).close()
        assert_same_as_journal(tmp_path / "a")


def test_a_new_run_leaves_the_old_one_in_mlflow_alone(tmp_path, model):
    train(tmp_path / "a", model, range(3)).close()
    old = the_run().info.run_id
    train(tmp_path / "a", model, range(2)).close()
    (new,) = [run.info.run_id for run in runs() if run.info.run_id != old]
    assert set(history(old)) == {0, 1, 2}
    assert_same_as_journal(tmp_path / "a", new)


def test_a_copy_that_a_crash_left_unfinished_is_not_taken_for_the_run(tmp_path, model):
    train(tmp_path / "a", model, range(4)).close()
    client, old = MlflowClient(), the_run()
    tags = {**old.data.tags, "delve.state": "copying", "delve.resumed_from": old.info.run_id}
    client.log_metric(client.create_run("0", tags=tags).info.run_id, "accuracy", 0.0, step=0)
    train(tmp_path / "a", model, range(2, 3), initial_epoch=2).close()
    assert_same_as_journal(tmp_path / "a")


def test_a_copy_that_was_complete_when_the_crash_came_is_the_run(tmp_path, model):
    train(tmp_path / "a", model, range(4)).close()
    old = the_run().info.run_id
    train(tmp_path / "a", model, [], initial_epoch=2).close()
    new = the_run().info.run_id
    client = MlflowClient()
    client.restore_run(old)
    client.delete_tag(old, "delve.superseded_by")
    train(tmp_path / "a", model, range(2, 3), initial_epoch=2).close()
    assert the_run().info.run_id == new
    assert_same_as_journal(tmp_path / "a")


def test_a_run_whose_tail_was_lost_is_fed_from_the_journal(tmp_path, model):
    train(tmp_path / "a", model, range(6)).close()
    copied = the_run()
    client = MlflowClient()
    short = client.create_run("0", tags=copied.data.tags)
    for name in copied.data.metrics:
        for point in client.get_metric_history(copied.info.run_id, name):
            if point.step < 2 or (point.step == 2 and name == "accuracy"):  # epoch 2 only in part
                client.log_metric(
                    short.info.run_id, name, point.value, timestamp=point.timestamp, step=point.step
                )
    client.delete_run(copied.info.run_id)
    train(tmp_path / "a", model, range(6, 7), initial_epoch=6).close()
    assert the_run().info.run_id == short.info.run_id
    assert_same_as_journal(tmp_path / "a")


def test_mlflow_named_for_the_first_time_on_resume_gets_the_whole_history(tmp_path, model):
    with SaturationTracker(tmp_path / "a", "print", model) as tracker:
        for epoch in range(4):
            tracker.add_scalar("accuracy", epoch)
            tracker.save()
    train(tmp_path / "a", model, range(4, 5), initial_epoch=4).close()
    assert_same_as_journal(tmp_path / "a")


def test_a_run_that_was_deleted_is_recorded_anew_from_the_journal(tmp_path, model):
    train(tmp_path / "a", model, range(3)).close()
    MlflowClient().delete_run(the_run().info.run_id)
    train(tmp_path / "a", model, range(3, 4), initial_epoch=3).close()
    assert_same_as_journal(tmp_path / "a")


def test_another_address_than_before_is_named_and_gets_everything(
    tmp_path, model, empty_store, monkeypatch, caplog
):
    train(tmp_path / "a", model, range(3)).close()
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", copy_store(empty_store, other))
    train(tmp_path / "a", model, range(3, 4), initial_epoch=3).close()
    assert f"was recorded in MLflow at sqlite:///{tmp_path}/mlflow.db" in caplog.text
    assert_same_as_journal(tmp_path / "a")


def test_no_password_gets_into_the_journal_or_the_log(tmp_path, model, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    address = f"127.0.0.1:{closed_port()}"
    train(tmp_path / "a", model, range(1)).close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@{address}")
    train(tmp_path / "a", model, range(1, 2), initial_epoch=1).close()
    train(tmp_path / "b", model, range(1)).close(RuntimeError("out of memory"))
    for folder in ("a", "b"):
        assert "secret" not in (tmp_path / folder / "journal.jsonl").read_text()
    assert caplog.text.count(f"now http://{address}") == 1  # though it was tried twice
    assert f"MlflowException: API request to http://{address}/api" in caplog.text
    assert "Traceback" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "uri", ["http://ann:se/cret@127.0.0.1:9", "unheard-of://ann:secret@127.0.0.1/db"]
)
def test_an_address_that_cannot_be_used_is_named_without_its_password(
    tmp_path, model, monkeypatch, caplog, uri
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(WriterConfigurationError, match=r"//127\.0\.0\.1") as raised:
        train(tmp_path / "a", model, [])
    told = "".join(traceback.format_exception(raised.value)) + caplog.text
    assert "cret" not in told.replace(__file__, "")
    assert "ann:" not in told


def test_a_users_own_run_keeps_its_later_points_and_says_so_once(tmp_path, model, caplog):
    with mlflow.start_run() as own:
        train(tmp_path / "a", model, range(4)).close()
        train(tmp_path / "a", model, range(2, 5), initial_epoch=2, value=lambda e: -e).close()
    assert the_run().info.run_id == own.info.run_id
    assert caplog.text.count("MLflow cannot drop points") == 1
    points = MlflowClient().get_metric_history(own.info.run_id, "accuracy")
    assert sorted(point.step for point in points) == [0, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize("recorded", [range(0), range(2)], ids=["not before", "before"])
def test_metrics_of_the_users_are_not_taken_for_delves(tmp_path, model, recorded):
    """What the user logs to a run of their own says nothing of what Delve has sent there."""
    with mlflow.start_run() as own:
        if recorded:
            train(tmp_path / "a", model, recorded).close()
        for epoch in range(4):
            mlflow.log_metric("accuracy", epoch / 7, step=epoch)
    with SaturationTracker(tmp_path / "a", "print", model, initial_epoch=len(recorded)) as tracker:
        for epoch in range(len(recorded), 4):
            model(torch.randn(30, 4) + epoch)
            tracker.add_scalar("accuracy", epoch / 7)
            tracker.add_saturations()
    with mlflow.start_run(run_id=own.info.run_id):
        train(tmp_path / "a", model, range(4, 5), initial_epoch=4).close()
    (key, *_) = [key for key in the_run().data.metrics if key.startswith("train-saturation/")]
    points = MlflowClient().get_metric_history(own.info.run_id, key)
    assert sorted(point.step for point in points) == [0, 1, 2, 3, 4]


def test_tags_that_are_no_dictionary_are_refused_before_anything_is_touched(tmp_path, model):
    with pytest.raises(ArgumentError, match="tags must be a dictionary"):
        train(tmp_path / "a", model, [], writer_args={"tags": ["x"]})
    assert not (tmp_path / "a").exists()


def test_a_changed_hyperparameter_is_named(tmp_path, model, caplog):
    train(tmp_path / "a", model, range(1), config={"lr": 0.1}).close()
    train(tmp_path / "a", model, [], initial_epoch=1, config={"lr": 0.2, "new": 1}).close()
    assert "the earlier one of: lr" in caplog.text
    assert the_run().data.params == {"lr": "0.1", "new": "1"}


# --- how a run ended -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_run_that_has_ended_and_gets_what_it_missed_keeps_its_status(tmp_path, model, status):
    train(tmp_path / "a", model, range(3)).close()
    ended = the_run().info.run_id
    MlflowClient().set_terminated(ended, status)
    for _ in range(2):
        assert [outcome.error for outcome in export(tmp_path / "a", "mlflow")] == [None]
        assert MlflowClient().get_run(ended).info.status == status
    train(tmp_path / "a", model, [], initial_epoch=2).close()
    assert the_run().info.status == status


def test_a_mistake_in_an_export_is_no_failure_of_the_run(tmp_path, model, monkeypatch):
    train(tmp_path / "a", model, range(3)).close()
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    (outcome,) = export(tmp_path / "a", "mlflow")
    assert "MLFLOW_RUN_ID" in outcome.error
    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert [outcome.error for outcome in export(tmp_path / "a", "mlflow")] == [None]
    assert the_run().info.status == "FINISHED"


def test_a_failed_run_that_really_goes_on_ends_as_it_then_ends(tmp_path, model):
    train(tmp_path / "a", model, range(2)).close(RuntimeError("diverged"))
    train(tmp_path / "a", model, range(2, 3), initial_epoch=2).close()
    assert the_run().info.status == "FINISHED"
    train(tmp_path / "a", model, range(3, 4), initial_epoch=3).close(RuntimeError("diverged"))
    assert the_run().info.status == "FAILED"


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (RuntimeError("diverged"), "FAILED")]
)
@pytest.mark.parametrize("lost_at", [0, 2])
def test_how_a_run_ended_is_told_later_where_mlflow_could_not_be_told(
    tmp_path, model, store, monkeypatch, lost_at, error, status
):
    if lost_at:
        train(tmp_path / "a", model, range(lost_at)).close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port()}")
    train(tmp_path / "a", model, range(lost_at, 3), initial_epoch=lost_at).close(error)
    assert [outcome.error for outcome in export(tmp_path / "a", "mlflow")] != [None]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert [outcome.error for outcome in export(tmp_path / "a", "mlflow")] == [None]
    assert the_run().info.status == status
    assert_same_as_journal(tmp_path / "a")


# --- a real server, and faults of it -------------------------------------------------------------


def test_a_server_gets_what_the_journal_holds_also_after_a_resume(
    tmp_path, model, server, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    mlflow.set_experiment("a resume")
    train(tmp_path / "a", model, range(5)).close()
    train(tmp_path / "a", model, range(3, 6), initial_epoch=3, value=lambda epoch: -epoch).close()
    assert_same_as_journal(tmp_path / "a")


@pytest.mark.parametrize("tries", ["now and then", "every epoch"])
def test_a_server_that_stops_and_comes_back_gets_every_epoch_and_one_line_in_the_log(
    tmp_path, model, server, monkeypatch, caplog, tries
):
    """Now and then is what a user gets; by trying at every epoch forty attempts fail, not two."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    mlflow.set_experiment("an outage")
    patience = fast_retries() if tries == "every epoch" else contextlib.nullcontext()
    with patience, SaturationTracker(tmp_path / "a", "mlflow", model) as tracker:
        for epoch in range(46):
            if epoch == 3:
                server.stop()
            if epoch == 43:
                server.start()
            model(torch.randn(30, 4))
            tracker.add_scalar("accuracy", epoch)
            tracker.add_saturations()
    assert the_run(tmp_path / "a").info.status == "FINISHED"
    assert_same_as_journal(tmp_path / "a")
    ours = [record for record in caplog.records if record.name.startswith("delve")]
    assert [record.levelname for record in ours if record.levelno >= logging.WARNING] == ["WARNING"]


def test_a_server_that_refuses_hardly_holds_the_training_up(tmp_path, model, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port()}")
    begin = time.monotonic()
    train(tmp_path / "a", model, range(5)).close()
    assert time.monotonic() - begin < 10
    assert "did not get epochs 0-4" in caplog.text


def test_a_server_that_never_answers_holds_one_attempt_up_for_10_s_at_most(
    tmp_path, model, monkeypatch, caplog
):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        tracker = train(tmp_path / "a", model, range(5))
        assert time.monotonic() - begin < 10
        begin = time.monotonic()
        tracker.close()
        assert time.monotonic() - begin < 10
    assert "did not get epochs 0-4" in caplog.text


def test_patience_that_the_user_set_is_kept(tmp_path, model, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        train(tmp_path / "a", model, []).close()
        assert time.monotonic() - begin < 4
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "1"


def test_a_process_ends_at_once_after_close_with_a_dead_server(tmp_path):
    program = (
        "import sys, torch; from delve import SaturationTracker;"
        "t = SaturationTracker(sys.argv[1], 'mlflow', torch.nn.Linear(2, 2));"
        "t.add_scalar('a', 1); t.save(); t.close()"
    )
    environment = os.environ | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", program, str(tmp_path / "a")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "did not get epochs 0" in done.stderr
