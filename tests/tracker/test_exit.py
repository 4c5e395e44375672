"""A tracker that nobody closes, when Python ends: in a script, and in an interactive session."""

import subprocess
import sys

import pytest

PROGRAM = """
from torch import nn
from delve import SaturationTracker

class Told:
    def save(self, epoch):
        print("saved", epoch, flush=True)
    def close(self, error):
        print("closed", type(error).__name__, flush=True)

tracker = SaturationTracker({folder!r}, Told(), nn.Linear(2, 2))
tracker.add_scalar("accuracy", 0.5)
tracker.save()
tracker.add_scalar("accuracy", 0.75)
{end}
"""


def ended(folder, end, *options, typed=""):
    """What the writer is told by a program that ends so."""
    program = PROGRAM.format(folder=str(folder), end=end)
    child = subprocess.run(
        [sys.executable, *options, "-c", program],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in child.stdout.splitlines() if line.startswith(("saved", "closed"))]
    return told, child.stderr


def test_a_script_that_ends_by_an_error_has_failed(tmp_path):
    told, shown = ended(tmp_path, "1 / 0")
    assert told == ["saved 0", "closed ZeroDivisionError"]
    assert "dropped: accuracy" in shown


@pytest.mark.parametrize(
    ("end", "typed"),
    [
        ("1 / 0", ""),
        ("1 / 0", "tracker.add_scalar('accuracy', 1.0)\n"),
        ("", "1 / 0\n"),
        ("", "raise KeyError\n"),
        ("", "raise KeyboardInterrupt\n"),
    ],
)
def test_an_interactive_session_goes_on_after_errors_so_they_are_no_failure(tmp_path, end, typed):
    told, shown = ended(tmp_path, end, "-i", typed=typed)
    assert told == ["saved 0", "saved 1", "closed NoneType"]
    assert "dropped" not in shown
    assert "Error" in shown or "KeyboardInterrupt" in shown


def test_a_script_that_just_ends_has_ended_well(tmp_path):
    told, _ = ended(tmp_path, "")
    assert told == ["saved 0", "saved 1", "closed NoneType"]
