"""One SQLite file and several processes: it is made once, and a lock is waited for."""

import contextlib
import os
import sqlite3
import threading
import time

import pytest
from mlflow_runs import Recording, in_a_process, in_force, rows
from mlflow_server import history, locked

PROGRAM = """
import sys, time
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from mlflow_runs import Recording, rows
name = sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
begun = time.monotonic()
Recording(Path(name), name).record(rows(0, 1, 2))
print(time.monotonic() - begun)
"""


@pytest.mark.usefixtures("no_settings")
def test_four_processes_that_make_one_database_all_arrive_at_the_first_attempt(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
    names = ["run0", "run1", "run2", "run3"]
    processes = [in_a_process(PROGRAM, name) for name in names]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
    for name in names:
        (run,) = in_force(name)
        assert run.info.status == "FINISHED"
        assert set(history(run.info.run_id)) == {0, 1, 2}


@pytest.mark.parametrize("new", [True, False])
def test_a_database_that_is_locked_for_some_seconds_is_waited_for(tmp_path, store, new):
    run = Recording(tmp_path / "a")
    if not new:
        run.record(rows(0, 1, 2))
    with locked(tmp_path / "mlflow.db", 3):
        begun = time.monotonic()
        run.record(rows(2), 0 if new else 2)
        assert 2 < time.monotonic() - begun < 10
    (found,) = in_force(run.run_id)
    assert history(found.info.run_id) == run.rows


def test_a_database_that_stays_locked_holds_an_attempt_up_for_10_s_at_most(tmp_path, store):
    """MLflow by itself waits for 20."""
    run = Recording(tmp_path / "a")
    run.record(rows(0, 1))
    with locked(tmp_path / "mlflow.db", 60):
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match="is locked, by another process"):
            run.record(rows(2), 2)
        assert time.monotonic() - begun < 10
    run.record(rows(2), 2)
    (found,) = in_force(run.run_id)
    assert history(found.info.run_id) == run.rows


def test_a_busy_database_gets_every_epoch(tmp_path, store):
    """Another process writes all the time, in short transactions."""
    path, stop = tmp_path / "mlflow.db", threading.Event()

    def write():
        with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as other:
            other.execute("CREATE TABLE noise (number INTEGER)")
            while not stop.is_set():
                other.execute("BEGIN IMMEDIATE")
                other.execute("INSERT INTO noise VALUES (1)")
                time.sleep(0.01)
                other.execute("COMMIT")
                time.sleep(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        run = Recording(tmp_path / "a")
        run.record(rows(*range(20)))
    finally:
        stop.set()
        writer.join()
    (found,) = in_force(run.run_id)
    assert history(found.info.run_id) == run.rows


@pytest.mark.usefixtures("no_settings")
def test_a_database_that_cannot_be_made_is_told_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no database\n" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file")
    begun = time.monotonic()
    with pytest.raises(Exception, match="file is not a database"):
        Recording(tmp_path / "a").record(rows(0))
    assert time.monotonic() - begun < 60  # MLflow's own tries included
    assert (tmp_path / "file").read_text() == "no database\n" * 100
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
