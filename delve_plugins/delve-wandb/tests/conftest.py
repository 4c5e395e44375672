"""Each test has W&B to itself: no account, no settings, no service left of another test."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from wandb_server import WandbServer


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """For a few numbers, torch's other threads only wait; and W&B's service needs a core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _nothing_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)  # where W&B's commands write their logs
    isolated = {
        "HOME": str(home),
        "NETRC": str(home / "netrc"),
        "WANDB_CONFIG_DIR": str(home / "config"),
        "WANDB_CACHE_DIR": str(home / "cache"),
        "WANDB_DATA_DIR": str(home / "data"),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "WANDB_MODE": "offline",
        "WANDB_PROJECT": "tests",
        # What W&B tells of the machine takes longer than what it is told here.
        "WANDB_DISABLE_CODE": "true",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_X_DISABLE_MACHINE_INFO": "true",
        "WANDB_X_DISABLE_STATS": "true",
        "WANDB_X_SAVE_REQUIREMENTS": "false",
        "OMP_NUM_THREADS": "1",  # of processes that a test starts
    }
    for name, value in isolated.items():
        monkeypatch.setenv(name, value)
    yield
    import wandb

    with contextlib.suppress(ConnectionError, SystemExit):  # of a service that a test killed
        wandb.teardown()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server that W&B's client is set to, for a test that is online."""
    with WandbServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def delves_warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What Delve has warned of up to the call; W&B's service warns of its own end."""
    return lambda: [
        record.message
        for record in caplog.records
        if record.name.startswith("delve") and record.levelno >= logging.WARNING
    ]
