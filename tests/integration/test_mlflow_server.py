"""MLflow's server in the tests: its port is its own, and its death is told with its log."""

import errno
import os
import socket
import subprocess
import sys

import pytest
from mlflow_server import MLflowServer


@pytest.fixture
def dying(tmp_path, monkeypatch):
    """A server that says a line and ends."""
    command = [sys.executable, "-c", "print('no such table')"]
    start = subprocess.Popen

    def start_that(_, **options):
        process = start(command, **options)
        process.wait()  # so that there is no group left to kill
        return process

    monkeypatch.setattr(subprocess, "Popen", start_that)
    return MLflowServer(tmp_path)


def test_a_server_that_dies_is_told_with_its_log(dying):
    with pytest.raises(RuntimeError, match="no such table"):
        dying.__enter__()


def test_nobody_else_is_given_its_port(dying, monkeypatch):
    monkeypatch.setattr(MLflowServer, "start", lambda self: self)
    with dying as server, socket.socket() as other:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
            other.bind(("127.0.0.1", port))


def test_what_answers_at_its_port_is_not_taken_for_it(dying, monkeypatch):
    """Whoever it is: this one has died."""
    monkeypatch.setattr(MLflowServer, "_answers", lambda self: True)
    with pytest.raises(RuntimeError, match="no such table"):
        dying.__enter__()
