"""One bad item is left out and named; the rest arrives, once."""

import json
from collections import Counter

import mlflow
import pytest
import torch
from delve_mlflow import MLflowWriter
from delve_mlflow.keys import clean_key
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow_runs import LAYER, Recording, rows
from mlflow_server import history

from delve import SaturationTracker
from delve.delivery.export import export
from delve.errors import ArgumentError, WriterConfigurationError
from delve.records import RunInfo
from delve.testing import journal_rows

pytestmark = pytest.mark.usefixtures("no_settings")

LONG = "\N{LATIN SMALL LETTER E WITH ACUTE}" * 200  # 400 bytes, and a file's name has 255


def the_run():
    (run,) = MlflowClient().search_runs(["0"])
    return run


def without(rows, *names):
    return {
        epoch: {name: value for name, value in row.items() if name not in names}
        for epoch, row in rows.items()
    }


# --- a file store --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("loss", "loss/val"),
        ("loss/val", "loss"),
        ("loss/val/top", "loss/val"),
        ("loss", "loss/val/top"),
        ("train-saturation/fc", "train-saturation/fc/in"),
        ("ok", LONG),
    ],
)
@pytest.mark.usefixtures("file_store")
def test_a_file_store_refuses_a_metric_beside_another_and_takes_the_rest_once(
    tmp_path, first, second
):
    run = Recording(tmp_path / "a")
    recorded = rows(0, 1, 2)
    for epoch, row in recorded.items():
        row |= {first: 1.0} if epoch == 0 else {second: 2.0, first: 1.0, "zz": 3.0}
    run.record(recorded)
    assert set(run.refused) == {second}
    assert history(the_run().info.run_id) == without(recorded, second)  # no point stands twice


@pytest.mark.usefixtures("file_store")
def test_two_metrics_in_one_epoch_that_exclude_each_other_are_one_refusal(tmp_path):
    run = Recording(tmp_path / "a")
    recorded = {0: {"loss": 1.0, "loss/val": 2.0, "z": 3.0, "a": 4.0}}
    run.record(recorded)
    assert len(run.refused) == 1
    assert history(the_run().info.run_id) == without(recorded, *run.refused)


@pytest.mark.usefixtures("file_store")
def test_the_tracker_names_the_item_once_and_loses_nothing_else(tmp_path, caplog):
    """End to end, with an export behind it that used to fail too."""
    model = torch.nn.Linear(3, 2)
    with SaturationTracker(tmp_path / "a", "mlflow", model) as tracker:
        for epoch in range(5):
            model(torch.randn(9, 3))
            tracker.add_scalar("loss", epoch)
            if epoch > 1:
                tracker.add_scalar("loss/val", epoch)
            tracker.add_saturations()
    recorded = without(journal_rows(tmp_path / "a"), "loss/val")
    assert history(the_run().info.run_id) == recorded
    assert caplog.text.count("refuses loss/val") == 1
    export(tmp_path / "a", "mlflow")
    with SaturationTracker(tmp_path / "a", "mlflow", model, initial_epoch=3) as tracker:
        tracker.add_scalar("loss", 9)
    recorded = without(journal_rows(tmp_path / "a"), "loss/val")
    assert history(the_run().info.run_id) == recorded


@pytest.mark.parametrize("scalars_only", [False, True])
@pytest.mark.parametrize("guest", [False, True])
@pytest.mark.usefixtures("file_store")
def test_what_is_fed_again_to_a_file_store_stands_there_once(tmp_path, scalars_only, guest):
    """MLflow ignores a point that it holds on databases alone."""
    recorded = rows(0, 1, 2, 3, rare=float("nan"), huge=float("inf"))
    if scalars_only:
        recorded = without(recorded, LAYER)
    run = Recording(tmp_path / "a")
    own = MlflowClient().create_run(mlflow.set_experiment("x").experiment_id) if guest else None
    if own:
        mlflow.start_run(own.info.run_id)
    run.record(recorded)
    for _ in range(3):
        run.record({}, 4)
    (found,) = [
        found
        for experiment in MlflowClient().search_experiments()
        for found in MlflowClient().search_runs([experiment.experiment_id])
    ]
    for key in found.data.metrics:
        points = MlflowClient().get_metric_history(found.info.run_id, key)
        assert sorted(point.step for point in points) == [0, 1, 2, 3]


@pytest.mark.usefixtures("file_store")
def test_a_file_store_takes_what_params_it_can(tmp_path, caplog):
    config = {"lr": 0.1, "lr/decay": 2, "note": "a\udcff", LONG: 1, "z": {"a": [1], "b": None}}
    run = Recording(tmp_path / "a")
    run.record(rows(0), config=config)
    assert the_run().data.params == {
        "lr": "0.1",
        "note": "a\\udcff",
        "z.a": "[1]",
        "z.b": "None",
    }
    assert "does not take 2 params" in caplog.text
    assert "lr/decay" in caplog.text
    assert history(the_run().info.run_id) == run.rows


# --- a database ----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["store", "file_store"])
def test_an_epoch_that_no_step_can_be_is_named(tmp_path, which, request):
    request.getfixturevalue(which)
    run = Recording(tmp_path / "a")
    last = 2**63 - 1
    run.record(rows(last - 1, last))
    run.record(rows(2**63), 2**63)
    assert set(run.refused) == {LAYER, "accuracy"}
    assert "9223372036854775808" in run.refused["accuracy"]
    assert sorted(history(the_run().info.run_id)) == [last - 1, last]


@pytest.mark.usefixtures("store")
def test_a_clock_before_1970_costs_no_point(tmp_path, monkeypatch):
    monkeypatch.setattr("mlflow_runs.BEGUN", -5000)
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1))
    assert history(the_run().info.run_id) == run.rows


@pytest.mark.usefixtures("store")
def test_a_param_that_the_users_run_has_otherwise_is_named_and_stays(tmp_path, caplog):
    with mlflow.start_run() as own:
        mlflow.log_param("lr", 0.5)
        run = Recording(tmp_path / "a")
        run.record(rows(0, 1), config={"lr": 0.1, "width": 3})
    assert the_run().data.params == {"lr": "0.5", "width": "3"}
    assert "the earlier one of: lr" in caplog.text
    assert history(own.info.run_id) == run.rows


@pytest.mark.usefixtures("store")
def test_a_run_that_is_deleted_meanwhile_is_no_fault_of_its_items(tmp_path):
    run = RunInfo(tmp_path / "a", "0" * 32, 0)
    writer = MLflowWriter(run.savefile)
    writer.start(run)
    MlflowClient().delete_run(the_run().info.run_id)
    writer.add_scalar("loss", 1.0)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        writer.save(0, 0, run)


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        ({7: "a"}, "7"),
        ({"": "a"}, "''"),
        ({"x" * 251: "a"}, "1 to 250"),
        ({"delve.state": "copying"}, "Delve's own"),
    ],
)
def test_tags_that_cannot_be_used_are_refused_at_once(tmp_path, tags, match):
    with pytest.raises(ArgumentError, match=match):
        Recording(tmp_path / "a").record(rows(0), arguments={"tags": tags})


@pytest.mark.usefixtures("store")
def test_tags_and_names_that_are_no_texts_are_made_texts(tmp_path):
    folder = tmp_path / "a\udcff"  # as a file system hands over what is no UTF-8
    Recording(folder).record(rows(0), arguments={"tags": {"fold": 3, "note": "\udc80"}})
    run = the_run()
    assert run.info.run_name == "a\\udcff"
    assert run.data.tags["delve.savefile"].endswith("a\\udcff")
    assert (run.data.tags["fold"], run.data.tags["note"]) == ("3", "\\udc80")


@pytest.mark.usefixtures("file_store")
def test_a_tag_that_the_store_refuses_is_named_at_once(tmp_path):
    with pytest.raises(WriterConfigurationError, match=r"a\(b.*tags given to the writer"):
        Recording(tmp_path / "a").record(rows(0), arguments={"tags": {"a(b": "c"}})


# --- a server ------------------------------------------------------------------------------------


@pytest.fixture
def proxy(server, monkeypatch, tmp_path):
    with FaultyProxy(server.url) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        mlflow.set_experiment(tmp_path.name)
        yield proxy


def batch_of(path, body):
    """What a request logs: the keys of its metrics and params."""
    if not path.endswith("/runs/log-batch"):
        return []
    request = json.loads(body)
    return [item["key"] for kind in ("metrics", "params") for item in request.get(kind, [])]


def test_a_server_that_refuses_one_key_gets_all_others_once(tmp_path, proxy):
    def refuse(path, body):
        if set(batch_of(path, body)) & {"bad", "lr"}:
            return 400, b'{"error_code": "BAD_REQUEST", "message": "I would rather not"}'
        return None

    proxy.refuse = refuse
    recorded = rows(0, 1, 2, bad=1.0, **{f"m{number}": 1.0 for number in range(200)})
    run = Recording(tmp_path / "a")
    run.record(recorded, config={"lr": 0.1, "width": 3})
    assert run.refused == {"bad": "BAD_REQUEST: I would rather not"}
    assert history(run.state["run_id"]) == without(recorded, "bad")
    assert MlflowClient().get_run(run.state["run_id"]).data.params == {"width": "3"}
    assert sum("log-batch" in line for line in proxy.requests) < 40


def test_a_gateway_that_takes_no_large_request_gets_small_ones(tmp_path, proxy):
    def refuse(path, body):
        return (413, b"Request Entity Too Large") if len(batch_of(path, body)) > 20 else None

    proxy.refuse = refuse
    recorded = rows(0, 1, **{f"m{number}": 1.0 for number in range(100)})
    run = Recording(tmp_path / "a")
    run.record(recorded, config={f"p{number}": number for number in range(50)})
    assert run.refused == {}
    assert history(run.state["run_id"]) == recorded
    assert len(MlflowClient().get_run(run.state["run_id"]).data.params) == 50


@pytest.mark.parametrize(
    "answer",
    [
        (400, b'{"error_code": "BAD_REQUEST", "message": "out of quota"}'),
        (400, b"plain HTTP request was sent to HTTPS port"),
        (401, b"who are you?"),
        (404, b"not here"),
        (429, b'{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slowly"}'),
        (503, b"later"),
    ],
)
def test_a_server_that_takes_nothing_is_away_and_no_item_is_blamed(tmp_path, proxy, answer):
    run = Recording(tmp_path / "a")
    proxy.refuse = lambda path, body: answer if batch_of(path, body) else None
    with pytest.raises(Exception, match=r".") as raised:
        run.record(rows(0, 1), close=False)
    assert type(raised.value).__name__ in ("RestException", "MlflowException")
    assert run.refused == {}


def test_a_server_with_a_limit_of_params_costs_no_metric(tmp_path, proxy, caplog):
    there = Counter()

    def refuse(path, body):
        if path.endswith("/runs/log-batch") and json.loads(body).get("params"):
            there.update(batch_of(path, body))
            if len(there) > 3:
                return 400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "too many"}'
        return None

    proxy.refuse = refuse
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1), config={f"p{number}": number for number in range(300)})
    assert "does not take 300 params" in caplog.text
    assert history(run.state["run_id"]) == run.rows


@pytest.mark.usefixtures("store")
def test_names_are_cleaned_before_they_can_be_refused(tmp_path):
    run = Recording(tmp_path / "a")
    recorded = {0: {"loss (%)": 1.0, "../x": 2.0, "x" * 300: 3.0}}
    run.record(recorded)
    assert run.refused == {}
    assert history(the_run().info.run_id) == {
        0: {clean_key(name): value for name, value in recorded[0].items()}
    }
