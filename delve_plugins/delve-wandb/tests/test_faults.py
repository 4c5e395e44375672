"""What goes wrong: no key, a key that is refused, a server that is dead, silent, or back again."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import wandb
from delve_wandb import WandbWriter
from delve_wandb.opening import finish_run
from torch import nn
from wandb_files import recorded_id, run_files, unsynced_rows
from wandb_server import WandbServer
from wandb_service import kill_services, services

from delve import RunInfo, SaturationTracker
from delve.errors import ArgumentError, WriterConfigurationError
from delve.testing import journal_rows, train

START = 1.5  # seconds that W&B's service may take to start on a busy machine, beyond a limit


@contextlib.contextmanager
def silent_server():
    """Accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted = []

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(listening.accept())

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


@contextlib.contextmanager
def no_server():
    """A port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    yield port


def go_online(monkeypatch, port):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")


def log_losses(tracker, epochs):
    for epoch in epochs:
        tracker.add_scalar("loss", 1 / (1 + epoch))
        tracker.save()


def losses(rows):
    return {epoch: row["loss"] for epoch, row in rows.items()}


def rows_of(server, folder):
    return {
        row["epoch"]: {
            key: value for key, value in row.items() if not key.startswith("_") and key != "epoch"
        }
        for row in server.runs[recorded_id(folder)].rows
    }


@pytest.mark.parametrize("broken", [no_server, silent_server])
def test_a_dead_server_holds_the_training_up_for_no_longer_than_asked(
    tmp_path, monkeypatch, caplog, broken
):
    with broken() as port:
        go_online(monkeypatch, port)
        begun = time.monotonic()
        train(tmp_path, ["wandb", "csv"], range(3), writer_args={"init_timeout": 1.0})
        seconds = time.monotonic() - begun
    assert len(journal_rows(tmp_path)) == 3
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 4
    assert seconds < 2 * 1.0 + 4 * START  # one attempt at the start, one at the end
    assert "did not answer in time" in caplog.text
    assert "did not get epochs 0-2" in caplog.text


def seconds_to_start(folder):
    folder.mkdir()
    writer, run = WandbWriter(folder), RunInfo(folder, "run", 0)
    begun = time.monotonic()
    with pytest.raises(Exception, match="did not answer in time"):
        writer.start(run)
    seconds = time.monotonic() - begun
    writer.close(None, run)
    return seconds


def test_by_default_the_wait_is_well_under_ten_seconds(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_SILENT")  # W&B asks the server for a name to greet
    with silent_server() as port:
        go_online(monkeypatch, port)
        assert 4 < seconds_to_start(tmp_path / "run") < 5 + 2 * START


def test_the_users_own_time_limit_is_respected(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    with silent_server() as port:
        go_online(monkeypatch, port)
        assert 1.5 < seconds_to_start(tmp_path / "run") < 2 + 2 * START


def test_a_server_that_comes_back_gets_everything(tmp_path, monkeypatch):
    with no_server() as port:
        go_online(monkeypatch, port)
    options = {"init_timeout": 1.0}
    tracker = SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2), writer_args=options)
    log_losses(tracker, range(3))
    with WandbServer(port) as server:
        tracker.close()
        assert rows_of(server, tmp_path) == journal_rows(tmp_path)
        assert len(server.runs) == 1


def test_a_server_that_dies_during_the_run_costs_seconds_and_no_epoch(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "1")
    with WandbServer() as server:
        go_online(monkeypatch, server.port)
        tracker = SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2))
    log_losses(tracker, range(4))
    begun = time.monotonic()
    tracker.close()
    assert time.monotonic() - begun < 1 + 2 * START
    folder = run_files(tmp_path)[0].parent
    command = f"wandb sync --include-online {folder}"
    assert command in caplog.text
    with WandbServer(server.port) as back:
        back.runs = server.runs
        monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        subprocess.run(command.split(), check=True, capture_output=True)
        assert rows_of(back, tmp_path) == journal_rows(tmp_path)


def test_what_a_dead_server_missed_comes_with_a_resume(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "1")
    with WandbServer() as server:
        go_online(monkeypatch, server.port)
        tracker = SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2))
    log_losses(tracker, range(4))
    tracker.close()
    with WandbServer(server.port) as back:
        back.runs = server.runs
        train(tmp_path, "wandb", range(4, 6))
        assert rows_of(back, tmp_path) == journal_rows(tmp_path)


def test_a_run_whose_service_dies_goes_on_in_a_new_one(tmp_path, server, caplog):
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2)) as tracker:
        log_losses(tracker, range(2))
        kill_services()
        log_losses(tracker, range(2, 4))
    assert caplog.text.count("W&B's service, the process wandb-core, has died") == 1
    assert "did not get" not in caplog.text
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)
    assert not [thread for thread in threading.enumerate() if thread.name == "NetStatThr"]
    caplog.clear()
    print("and the console is not captured for a run that is gone")
    assert not caplog.text
    train(tmp_path, "wandb", range(4, 6))
    assert rows_of(server, tmp_path) == journal_rows(tmp_path)


def test_offline_a_run_whose_service_dies_goes_on_in_a_new_one(tmp_path, caplog):
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2)) as tracker:
        kill_services()  # before it was given anything
        log_losses(tracker, range(1))
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2), initial_epoch=1) as tracker:
        log_losses(tracker, range(1, 3))
        kill_services()
        log_losses(tracker, range(3, 5))
    assert caplog.text.count("has died") == 2
    assert "did not get" not in caplog.text
    assert losses(unsynced_rows(tmp_path)) == losses(journal_rows(tmp_path))


def test_the_users_own_run_whose_service_dies_lacks_what_is_named(tmp_path, caplog):
    users = wandb.init(dir=tmp_path)
    with SaturationTracker(tmp_path / "run", "wandb", nn.Linear(2, 2)) as tracker:
        log_losses(tracker, range(2))
        kill_services()
        log_losses(tracker, range(2, 4))
    assert "writer 'wandb' did not get epochs 2-3" in caplog.text
    with pytest.raises(ConnectionError):
        finish_run(users)


def test_a_refused_key_is_the_users_mistake(tmp_path, server):
    server.refuses_keys = True
    with pytest.raises(WriterConfigurationError, match=r"not logged in.*WANDB_API_KEY"):
        train(tmp_path, "wandb", range(1))


def test_a_malformed_key_is_the_users_mistake(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(WriterConfigurationError, match=r"WANDB_API_KEY invalid"):
        train(tmp_path, "wandb", range(1))


def test_without_a_key_and_a_terminal_nothing_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    code = (
        "import sys; from delve import RunInfo, SaturationTracker; from torch import nn\n"
        "SaturationTracker(sys.argv[1], 'wandb', nn.Linear(2, 2))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 1
    last = child.stderr.strip().splitlines()[-1]
    assert "WriterConfigurationError" in last
    assert "No API key configured" in last
    assert "wandb login" in last


def test_settings_that_wandb_refuses_are_the_users_mistake(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(WriterConfigurationError, match="WANDB_ variables"):
        train(tmp_path, "wandb", range(1))


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "ofline"},
        {"tags": "a"},
        {"tags": {"a": "b"}},
        {"init_timeout": 0},
        {"init_timeout": "x"},
    ],
)
def test_a_bad_option_is_named_by_the_constructor(tmp_path, options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        WandbWriter(tmp_path, **options)


def test_an_old_or_missing_wandb_is_named(tmp_path, monkeypatch):
    monkeypatch.delattr(wandb, "Settings")
    monkeypatch.setattr(wandb, "__version__", "0.15.0")
    with pytest.raises(WriterConfigurationError, match=r"0\.28 or newer.*0\.15\.0"):
        train(tmp_path, "wandb", range(1))
    monkeypatch.undo()


def test_nothing_is_left_running_and_wrapped(tmp_path):
    hooks = sys.exit, sys.excepthook
    train(tmp_path, "wandb", range(2))
    assert services() == []
    assert (sys.exit, sys.excepthook) == hooks
    assert "WANDB_SERVICE" not in os.environ


def test_a_service_that_the_user_started_is_left_running(tmp_path):
    settings = wandb.Settings(run_group="mine")
    wandb.setup(settings)
    service = os.environ["WANDB_SERVICE"]
    train(tmp_path, "wandb", range(2))
    assert os.environ["WANDB_SERVICE"] == service
    assert wandb.setup().settings.run_group == "mine"


def test_settings_of_the_users_outlive_a_failed_attempt(tmp_path, monkeypatch):
    with no_server() as port:
        go_online(monkeypatch, port)
        wandb.setup(wandb.Settings(run_group="mine"))
        train(tmp_path, "wandb", range(1), writer_args={"init_timeout": 1.0})
    assert wandb.setup().settings.run_group == "mine"
