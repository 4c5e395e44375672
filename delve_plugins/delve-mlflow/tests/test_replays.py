"""Epochs that come again go many in a request; each stands there once, whatever comes between."""

import json
import math
import os
import shutil
import signal
import sys

import mlflow
import pytest
from delve_mlflow import MLflowWriter
from delve_mlflow.rows import MOST_AT_ONCE
from faulty_proxy import FaultyProxy
from mlflow_runs import in_force
from mlflow_server import history
from torch import nn

from delve import RunInfo, SaturationTracker
from delve.errors import UndeliveredError
from delve.testing import journal_rows, run_id

EPOCHS, NAMES = 60, 70  # in five requests
FULL = MOST_AT_ONCE // (NAMES + 1)  # epochs of a full one


def track(folder, save_to, epochs, **more):
    first = epochs[0] if epochs else EPOCHS
    with SaturationTracker(folder, save_to, nn.Linear(2, 2), initial_epoch=first, **more) as run:
        for epoch in epochs:
            for name in range(NAMES):
                run.add_scalar(f"loss{name}", epoch + name / NAMES)
            run.add_scalar("odd", [math.nan, math.inf, -math.inf, 1e-300][epoch % 4])
            run.save()


@pytest.fixture
def run(tmp_path):
    """One that MLflow has never seen."""
    track(tmp_path / "run", "csv", range(EPOCHS))
    return tmp_path / "run"


@pytest.fixture
def proxy(server, no_settings, monkeypatch, tmp_path):
    monkeypatch.setattr("delve.delivery.attempts.FIRST_WAIT", 0.0)
    monkeypatch.setattr("delve.delivery.attempts.WAIT_RATIO", 0.0)
    with FaultyProxy(server.url) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        mlflow.set_experiment(tmp_path.name)
        yield proxy
        proxy.pass_all()


def batches(proxy):
    return [number for number, path in enumerate(proxy.requests) if "log-batch" in path]


def same(value, other):
    """As a database holds numbers: without infinities."""
    if math.isnan(value):
        return math.isnan(other)
    most = sys.float_info.max
    return max(-most, min(value, most)) == max(-most, min(other, most))


def assert_right(folder):
    (found,) = in_force(run_id(folder))
    held, expected = history(found.info.run_id), journal_rows(folder)
    assert held.keys() == expected.keys()
    for epoch, row in expected.items():
        assert held[epoch].keys() == row.keys()
        assert all(same(held[epoch][name], value) for name, value in row.items()), epoch


def test_requests_are_full_and_the_last_ones_come_at_once(run, proxy):
    track(run, "mlflow", range(EPOCHS, EPOCHS + 2))
    assert_right(run)
    assert len(batches(proxy)) <= math.ceil(EPOCHS / FULL) + 2 + 2  # two new epochs, and tags


@pytest.mark.parametrize("fault", ["error", "lost", "answer lost"])
@pytest.mark.parametrize("which", [1, 3, -1])
def test_one_that_fails_is_given_again(run, proxy, fault, which, caplog):
    whole = shutil.copytree(run, run.with_name("whole"))
    track(whole, "mlflow", [])
    number = batches(proxy)[which]
    proxy.pass_all()
    proxy.fault, proxy.fail_at = fault, number
    track(run, "mlflow", range(EPOCHS, EPOCHS + 2))
    proxy.pass_all()
    assert_right(run)
    assert "did not get" not in caplog.text


def test_what_never_arrived_is_named_from_its_first_epoch_on(run, proxy, caplog):
    taken = []

    def refuse(path, body):
        if b"loss3" in body:
            taken.append(path)
        return (500, b"{}") if len(taken) > 2 else None

    proxy.refuse = refuse
    track(run, "mlflow", [])
    proxy.refuse = lambda path, body: None
    held = history(in_force(run_id(run))[0].info.run_id)
    assert 0 < len(held) < EPOCHS
    assert f"did not get epochs {len(held)}-{EPOCHS - 1}" in caplog.text
    track(run, "mlflow", range(EPOCHS, EPOCHS + 1))
    assert_right(run)


def test_what_waits_at_the_end_is_sent_or_named(tmp_path, proxy):
    told = RunInfo(tmp_path, "0" * 31 + "1", 0, initial_epoch=9, epochs=tuple(range(9)))
    writer = MLflowWriter(tmp_path)
    assert writer.resume_from_saved_state(9, told) == 0
    for epoch in range(1):
        writer.add_scalar("loss", epoch)
        writer.save(epoch, 1000, told)
    assert history(told.state["run_id"]) == {}
    proxy.refuse = lambda path, body: (500, b"{}") if b"loss" in body else None
    for _ in range(2):
        with pytest.raises(UndeliveredError) as raised:
            writer.close(None, told)
        assert raised.value.first == 0
    proxy.refuse = lambda path, body: None
    writer.close(None, told)
    assert history(told.state["run_id"]) == {0: {"loss": 0.0}}


@pytest.mark.parametrize("where", ["database", "files"])
def test_a_kill_in_between_costs_nothing(run, request, where):
    request.getfixturevalue("store" if where == "database" else "file_store")
    child = os.fork()
    if not child:
        from delve_mlflow.points import Points

        send, sent = Points.send_all, []

        def killing(points, rows):
            sent.append(rows)
            if len(sent) == 3:
                points.send_all = None
                send(points, rows[: len(rows) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return send(points, rows)

        Points.send_all = killing
        track(run, "mlflow", [])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    track(run, "mlflow", range(EPOCHS, EPOCHS + 1))
    assert_right(run)


def test_a_name_that_is_refused_costs_no_other(run, proxy, caplog):
    told = json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": "no such thing"})

    def refuse(path, body):
        return (400, told.encode()) if "log-batch" in path and b'"loss3"' in body else None

    proxy.refuse = refuse
    track(run, "mlflow", range(EPOCHS, EPOCHS + 1))
    (found,) = in_force(run_id(run))
    held = history(found.info.run_id)
    assert list(held) == list(range(EPOCHS + 1))
    names = {*(f"loss{name}" for name in range(NAMES)), "odd"} - {"loss3"}
    assert all(row.keys() == names for row in held.values())
    assert caplog.text.count("refuses loss3") == 1


def test_a_rare_name_that_is_refused_is_named_too(tmp_path, proxy, caplog):
    """The epoch that has it is none of those at which it comes out."""
    folder = tmp_path / "run"
    with SaturationTracker(folder, "csv", nn.Linear(2, 2)) as tracker:
        for epoch in range(10):
            tracker.add_scalar("rare" if epoch == 3 else "loss", epoch)
            tracker.save()
    told = json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": "no such thing"})
    proxy.refuse = lambda path, body: (
        (400, told.encode()) if "log-batch" in path and b'"rare"' in body else None
    )
    with SaturationTracker(folder, "mlflow", nn.Linear(2, 2), initial_epoch=10):
        pass
    (found,) = in_force(run_id(folder))
    expected = {epoch: {"loss": epoch} for epoch in range(10) if epoch != 3}
    assert history(found.info.run_id) == expected
    assert caplog.text.count("refuses rare") == 1
