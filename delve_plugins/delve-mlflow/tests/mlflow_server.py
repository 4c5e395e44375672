"""A real MLflow server on the loopback interface, and stores that are made once and copied."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self

START_TIMEOUT = 120  # seconds; making the database alone takes some


class MLflowServer:
    """An ``mlflow server`` process of its own, while it is used as a context manager.

    It can be stopped, and started on the same data. Linux only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, also while it is stopped."""
        return f"http://127.0.0.1:{self._port.getsockname()[1]}"

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        environment = os.environ | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
            environment.pop(name, None)
        options = {
            "--host": "127.0.0.1",
            "--port": self.url.rpartition(":")[2],
            "--backend-store-uri": f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination": f"{self.folder}/artifacts",
            "--workers": "1",
        }
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            *(x for o in options.items() for x in o),
        ]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._answers():
                return self
            time.sleep(0.1)
        self.stop()
        raise RuntimeError((self.folder / "server.log").read_text()[-3000:])

    def stop(self) -> None:
        """Kill the server with all its workers."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # all have died by themselves
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Inside, nobody listens."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Inside, it takes connections and answers nobody."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self._port = _hold_port()
        try:
            return self.start()
        except BaseException:
            self._port.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._port.close()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as response:
                return bool(response.read() == b"OK")
        except (urllib.error.URLError, OSError):
            return False


def make_store(path: Path) -> Path:
    """An empty sqlite store, which takes MLflow seconds to make; copy it for each test."""
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


def copy_store(store: Path, folder: Path) -> str:
    """A copy of a store in ``folder``; returns its tracking URI."""
    shutil.copy(store, folder / "mlflow.db")
    return f"sqlite:///{folder}/mlflow.db"


def history(run_id: str) -> dict[int, dict[str, float]]:
    """All points of an MLflow run as {step: {metric: value}}; no step may come twice."""
    from mlflow import MlflowClient

    client = MlflowClient()
    rows: dict[int, dict[str, float]] = {}
    for key in client.get_run(run_id).data.metrics:
        for point in client.get_metric_history(run_id, key):
            row = rows.setdefault(point.step, {})
            assert key not in row, f"{key} has step {point.step} twice"
            row[key] = point.value
    return rows


@contextlib.contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """The file, in the hands of another process that writes for a while."""
    code = (
        "import sqlite3, sys, time\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "time.sleep(float(sys.argv[2]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "locked\n"
    try:
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _hold_port() -> socket.socket:
    """A free port that nobody else is given as long as the socket is open.

    A server may listen there meanwhile: Linux allows that where both set SO_REUSEADDR, and this
    socket does not listen.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held
