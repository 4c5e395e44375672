"""A server that is slow, or answers byte by byte, holds an attempt up for as long as it may take.

And one whose answers say nothing is not believed.
"""

import math
import os
import signal
import threading
import time
import uuid

import mlflow
import pytest
from delve_mlflow import MLflowWriter, succession
from delve_mlflow.patience import Patience
from faulty_proxy import FaultyProxy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow_runs import BEGUN, LAYER, Recording, in_force, rows
from mlflow_server import history, locked

from delve.errors import BackendLostError
from delve.records import RunInfo


@pytest.fixture
def proxy(server, no_settings, monkeypatch, tmp_path):
    with FaultyProxy(server.url) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        mlflow.set_experiment(tmp_path.name)
        yield proxy
        proxy.pass_all()


def is_batch(path):
    return path.endswith("log-batch")


def took(call):
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        call()
    return time.monotonic() - begun


def opened(folder, seconds):
    """A writer in a new run, and what it is told; an attempt takes some seconds."""
    left = [60.0]
    run = RunInfo(folder, "0" * 31 + "1", BEGUN, time_left=lambda: left[0])
    writer = MLflowWriter(folder)
    writer.start(run)
    left[0] = seconds
    return writer, run


def give(writer, epoch, run):
    writer.add_scalars({LAYER: epoch / 10})
    writer.save(epoch, BEGUN + epoch, run)


def test_an_answer_that_drips_is_left_behind_and_nothing_is_asked_beside_it(tmp_path, proxy):
    writer, run = opened(tmp_path, 2.0)
    give(writer, 0, run)
    proxy.drips = is_batch
    assert took(lambda: give(writer, 1, run)) < 6
    asked = len(proxy.requests)
    assert took(lambda: give(writer, 1, run)) < 6
    assert len(proxy.requests) == asked
    proxy.pass_all()
    give(writer, 1, run)
    writer.close(None, run)
    assert history(run.state["run_id"]) == {0: {LAYER: 0.0}, 1: {LAYER: 0.1}}


def test_ctrl_c_comes_through_while_an_answer_drips(tmp_path, proxy):
    writer, run = opened(tmp_path, 30.0)
    proxy.drips = is_batch
    begun = time.monotonic()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell has set
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        give(writer, 0, run)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("initial_epoch", [0, 2], ids=["new", "roll-over"])
def test_all_calls_of_an_opening_share_its_time(tmp_path, proxy, initial_epoch):
    """One call takes a fraction of it, all of them more."""
    run = Recording(tmp_path / "a", uuid.uuid4().hex)
    if initial_epoch:
        run.record(rows(0, 1, 2))
    proxy.delay = 1.2
    new = rows(initial_epoch)
    seconds = took(lambda: run.record(new, initial_epoch, time_left=lambda: 2.0))
    assert 1.5 < seconds < 6
    proxy.delay = 0.0
    run.record(new, initial_epoch)
    (found,) = in_force(run.run_id)
    assert history(found.info.run_id) == run.rows


def test_a_run_that_a_late_request_makes_is_deleted_by_the_next_resume(tmp_path, store):
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1, 2))
    client = MlflowClient()
    tags = client.get_run(run.state["run_id"]).data.tags
    late, users = (client.create_run("0", tags=tags).info.run_id for _ in range(2))
    client.log_metric(users, "mine", 1.0)
    run.record(rows(3), 3)
    assert {found.info.run_id for found in in_force(run.run_id)} == {run.state["run_id"], users}
    assert client.get_run(late).info.lifecycle_stage == "deleted"
    assert history(run.state["run_id"]) == run.rows


def test_a_copy_that_takes_longer_than_an_attempt_is_gone_on_with(tmp_path, proxy, monkeypatch):
    """Each attempt has the time for a part of it."""
    monkeypatch.setattr(succession, "BATCH", 9)
    values = {f"m{number}": number / 3 for number in range(20)}
    run = Recording(tmp_path / "a", uuid.uuid4().hex)
    run.record(rows(0, 1, 2, 3, nan=math.nan, **values))
    proxy.pass_all()
    proxy.delay = 0.08
    attempts = 0
    while attempts < 60:
        attempts += 1
        try:
            run.record(rows(3, **values), 3, time_left=lambda: 1.0)
            break
        except TimeoutError:
            continue
    assert 2 <= attempts < 60
    assert sum(line.endswith("runs/create") for line in proxy.requests) == 1
    (found,) = in_force(run.run_id)
    held = history(found.info.run_id)
    assert [set(row) for row in held.values()] == [set(row) for row in run.rows.values()]
    assert all(math.isnan(held[epoch]["nan"]) for epoch in range(3))
    assert "nan" not in held[3]
    assert {epoch: row["m7"] for epoch, row in held.items()} == dict.fromkeys(range(4), 7 / 3)


def test_a_database_that_others_hold_is_given_up_in_time(tmp_path, store):
    writer, run = opened(tmp_path, 2.0)
    with locked(tmp_path / "mlflow.db", 60):
        assert took(lambda: give(writer, 0, run)) < 7
        assert took(lambda: writer.close(None, run)) < 7
    give(writer, 0, run)
    writer.close(None, run)
    assert history(run.state["run_id"]) == {0: {LAYER: 0.0}}


def test_many_requests_are_under_way_together_and_none_begins_after_the_time():
    patience, under_way, most, begun = Patience("file:nowhere"), [], [], []

    def call():
        begun.append(1)
        under_way.append(1)
        most.append(len(under_way))
        time.sleep(0.05)
        under_way.pop()

    with patience.attempt(60.0):
        list(patience.ask_all([call] * 40, 8))
    assert 3 <= max(most) <= 8
    begun.clear()
    with pytest.raises(TimeoutError), patience.attempt(0.3):
        list(patience.ask_all([lambda: (call(), time.sleep(1.0))] * 40, 8))
    time.sleep(1.5)
    assert len(begun) <= 16


# --- answers that say nothing --------------------------------------------------------------------


@pytest.mark.parametrize("swallowed", [(3,), (1, 2), (0, 1, 2, 3)])
def test_an_epoch_that_a_gateway_swallows_is_missed_at_close_and_fed_again(
    tmp_path, proxy, swallowed
):
    steps = [f'"step": {epoch}'.encode() for epoch in swallowed]

    def swallow(path, body):
        return (200, b"{}") if is_batch(path) and any(step in body for step in steps) else None

    proxy.refuse = swallow
    run = Recording(tmp_path / "a", uuid.uuid4().hex)
    with pytest.raises(BackendLostError, match=f"does not hold epochs? {swallowed[0]}"):
        run.record(rows(0, 1, 2, 3))
    proxy.refuse = lambda path, body: None
    run.record(rows(4), 4)
    (found,) = in_force(run.run_id)
    assert history(found.info.run_id) == run.rows
    assert found.info.status == "FINISHED"
    assert run.state["lacking"] is None


def test_what_was_swallowed_before_an_outage_is_missed_after_it(tmp_path, proxy):
    writer, run = opened(tmp_path, 30.0)
    proxy.refuse = lambda path, body: (200, b"{}") if is_batch(path) else None
    give(writer, 0, run)
    proxy.refuse = lambda path, body: (200, b"<html>log in</html>") if is_batch(path) else None
    with pytest.raises(MlflowException):
        give(writer, 1, run)
    proxy.refuse = lambda path, body: None
    with pytest.raises(BackendLostError, match="does not hold epochs 0"):
        give(writer, 1, run)
    assert writer.resume_from_saved_state(1, run) == 0


@pytest.mark.parametrize("answer", [b"{}", b"", b"<html>log in</html>"])
def test_a_gateway_that_answers_everything_is_no_tracking_server(tmp_path, proxy, answer):
    proxy.refuse = lambda path, body: (200, answer)
    with pytest.raises((ConnectionError, MlflowException)):
        Recording(tmp_path / "a", uuid.uuid4().hex).record(rows(0))
