"""How it stands with a run: running, finished, failed, killed, or not known."""

import subprocess
import sys

import pytest
import torch
from support.journals import write_run
from torch import nn

from delve import SaturationTracker
from delve.journal.lock import LOCK_NAME, is_held
from delve.journal.status import status_of
from delve.journal.stored_run import read_run

PROGRAM = """
import os, sys, torch
from torch import nn
from delve import SaturationTracker
model = nn.Linear(3, 2)
tracker = SaturationTracker(sys.argv[1], "print", model, **eval(sys.argv[2]))
model(torch.rand(9, 3))
tracker.add_saturations()
print("recorded", flush=True)
{end}
"""


def record(folder, end, **arguments):
    """Run a training in a process of its own, which ends so."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM.format(end=end), folder, repr(arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("tracker.close()", "finished"),
        ("pass", "finished"),
        ("raise ValueError('a secret')", "failed (ValueError)"),
        ("tracker.close(RuntimeError())", "failed (RuntimeError)"),
        ("with tracker: sys.exit(3)", "failed (SystemExit)"),
        ("os.kill(os.getpid(), 9)", "killed"),
        ("os._exit(0)", "killed"),
    ],
)
def test_how_a_process_ended_is_told(tmp_path, end, state):
    record(tmp_path, end).communicate()
    assert str(status_of(read_run(tmp_path))) == state
    assert "secret" not in (tmp_path / "journal.jsonl").read_text()


def test_a_run_of_another_process_is_seen_to_be_running_and_the_lock_stays(tmp_path):
    training = record(tmp_path, "sys.stdin.read()")
    while training.stdout.readline() != b"recorded\n":
        pass
    for _ in range(2):
        assert status_of(read_run(tmp_path)).state == "running"
    training.communicate(b"")
    assert status_of(read_run(tmp_path)).state == "finished"


def test_a_run_of_this_process_is_seen_to_be_running(tmp_path):
    with SaturationTracker(tmp_path, "print", nn.Linear(3, 2)):
        assert status_of(read_run(tmp_path)).state == "running"
    assert is_held(tmp_path) is False


def test_a_resumed_run_is_what_its_last_process_made_of_it(tmp_path):
    record(tmp_path, "raise ValueError").communicate()
    record(tmp_path, "os.kill(os.getpid(), 9)", initial_epoch="auto").communicate()
    assert status_of(read_run(tmp_path)).state == "killed"
    record(tmp_path, "tracker.close()", initial_epoch="auto").communicate()
    run = read_run(tmp_path)
    assert (status_of(run).state, run.epochs) == ("finished", [0, 1, 2])
    assert status_of(run).time >= run.last_time


def test_of_a_journal_from_before_nothing_is_made_up(tmp_path):
    run = write_run(tmp_path, [{"loss": 1.0}])
    assert status_of(read_run(run)).state == "unknown"
    assert not (run / LOCK_NAME).exists(), "to look makes no file"


def test_the_number_of_features_is_told_of_each_layer_whatever_is_selected(tmp_path):
    model = nn.Sequential(nn.Linear(3, 16), nn.Linear(16, 5))
    with SaturationTracker(tmp_path, "print", model, stats=["n"]) as tracker:
        for _ in range(2):
            model(torch.rand(40, 3))
            tracker.add_saturations()
    assert read_run(tmp_path).features == {"0": 16, "1": 5}
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert sum('"features"' in line for line in lines) == 1, "once, as it stays"
    wider = nn.Sequential(nn.Linear(3, 32), nn.Linear(32, 5))
    with SaturationTracker(tmp_path, "print", wider, stats=["n"], initial_epoch=2) as tracker:
        wider(torch.rand(40, 3))
        tracker.add_saturations()
    assert read_run(tmp_path).features == {"0": 32, "1": 5}
    assert read_run(tmp_path).record_of(2).features == {"0": 32}
