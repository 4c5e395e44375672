"""An earlier run is moved aside whole where a new one begins, and nothing of the user's is."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.journals import saturations, write_run
from torch import nn

import delve
from delve import SaturationTracker
from delve.errors import ArgumentError, JournalError
from delve.journal.earlier import move_aside
from delve.journal.reading import JOURNAL_NAME
from delve.journal.stored_run import read_run

SCRIPT = """
import sys, torch
from torch import nn
from delve import SaturationTracker
torch.manual_seed(0)
model = nn.Linear(3, 2)
with SaturationTracker(sys.argv[1], eval(sys.argv[3]), model, stats=["lsat", "cov"]) as tracker:
    for epoch in range(int(sys.argv[2])):
        model(torch.rand(20, 3))
        tracker.add_scalar("loss", 1 / (epoch + 1))
        tracker.add_saturations()
"""


def start(folder, epochs, writers="['print']"):
    """Start the same script, with so many epochs this time."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder, str(epochs), writers],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_same_script_started_three_times_leaves_three_runs(tmp_path):
    for plugin in ("csv", "npy", "plot", "tensorboard"):
        pytest.importorskip(f"delve_{plugin}")
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoint.pt").write_text("mine")
    writers = "['csv', 'npy', 'plot', 'tensorboard']"
    told = [start(run, epochs, writers) for epochs in (4, 2, 3)]
    assert "earlier run" not in told[0]
    for number, epochs in ((1, 4), (2, 2)):
        line = [line for line in told[number].splitlines() if "earlier run" in line]
        assert len(line) == 1
        assert (
            f"earlier run of {epochs} epochs, which was moved to {run}/earlier/{number};" in line[0]
        )
    runs = delve.load_all(run)
    assert [(one.name, len(one.epochs), one.status) for one in runs] == [
        ("run", 3, "finished"),
        ("earlier/1", 4, "finished"),
        ("earlier/2", 2, "finished"),
    ]
    for one in runs:
        files = {path.relative_to(one.folder).parts[0] for path in one.folder.rglob("*")}
        assert {"metrics.csv", "npy", "plots", "tensorboard", JOURNAL_NAME} <= files
        assert len((one.folder / "metrics.csv").read_text().splitlines()) == len(one.epochs) + 1
        arrays = sorted((one.folder / "npy" / "train-covariance-matrix").rglob("*.npy"))
        assert len(arrays) == len(one.epochs)
        assert one.array("cov", one.layer_names[0]).shape == (2, 2)
    assert (run / "checkpoint.pt").read_text() == "mine"
    assert len({one.stored.run_id for one in runs}) == 3


def record(folder, epochs, **arguments):
    model = nn.Linear(3, 2)
    with SaturationTracker(folder, "print", model, **arguments) as tracker:
        for _ in range(epochs):
            model(torch.rand(20, 3))
            tracker.add_saturations()


def test_an_earlier_run_goes_on_where_it_lies(tmp_path, caplog):
    record(tmp_path, 2)
    record(tmp_path, 1)
    caplog.clear()
    record(tmp_path / "earlier" / "1", 1, initial_epoch="auto")
    assert read_run(tmp_path / "earlier" / "1").epochs == [0, 1, 2]
    assert "cannot be seen" not in caplog.text, "it is known to lie there now"
    assert read_run(tmp_path).epochs == [0]


def test_overwriting_is_asked_for(tmp_path, caplog):
    record(tmp_path, 2)
    record(tmp_path, 1, overwrite=True)
    assert not (tmp_path / "earlier").exists()
    assert read_run(tmp_path).epochs == [0]
    assert "earlier run" not in caplog.text
    with pytest.raises(ArgumentError, match="overwrite must be True or False, not 1"):
        record(tmp_path, 1, overwrite=1)


@pytest.mark.parametrize("epochs", [0, None])
def test_where_nothing_was_recorded_nothing_is_moved(tmp_path, epochs):
    if epochs is not None:
        record(tmp_path, epochs)
    record(tmp_path, 1)
    assert not (tmp_path / "earlier").exists()


def test_a_resume_moves_nothing(tmp_path):
    record(tmp_path, 2)
    record(tmp_path, 1, initial_epoch=1)
    record(tmp_path, 1, initial_epoch="auto")
    assert not (tmp_path / "earlier").exists()


def test_a_crash_in_between_is_made_good(tmp_path):
    write_run(tmp_path, [saturations({"fc": 0.5})])
    place = tmp_path / "earlier" / "1"
    place.mkdir(parents=True)
    (place / "metrics.csv").write_text("moved before the crash")
    assert move_aside(tmp_path) == place
    assert (place / "metrics.csv").read_text() == "moved before the crash"
    assert read_run(place).epochs == [0]
    write_run(tmp_path, [saturations({"fc": 0.5})])
    assert move_aside(tmp_path) == tmp_path / "earlier" / "2"


def test_files_of_users_with_the_names_of_delves_stay(tmp_path):
    write_run(tmp_path, [saturations({"fc": 0.5})])
    (tmp_path / "npy").mkdir()
    np.save(tmp_path / "npy" / "mine.npy", np.ones(3))
    (tmp_path / "metrics.csv").write_text("date,price\n")
    (tmp_path / "plots").symlink_to(tmp_path / "npy")
    move_aside(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"npy", "metrics.csv", "plots", "earlier"}


def test_files_of_users_among_delves_stay_and_nothing_else(tmp_path):
    pytest.importorskip("delve_npy")
    model = nn.Linear(3, 2)
    with SaturationTracker(tmp_path, "npy", model, stats=["lsat", "cov"]) as tracker:
        model(torch.rand(20, 3))
        tracker.add_saturations()
    place = tmp_path / "npy" / "train-covariance-matrix" / "Linear-0"
    np.save(place / "epoch00009.npy", np.ones(3))
    (tmp_path / "npy" / "notes.txt").write_text("mine")
    move_aside(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    mine = {
        "npy/notes.txt",
        "npy/train-covariance-matrix/Linear-0/epoch00009.npy",
    }
    assert {path for path in left if not path.startswith("earlier/")} == {".lock", *mine}
    assert delve.load(tmp_path / "earlier" / "1").array("cov", "Linear-0").shape == (2, 2)


def test_files_that_another_writer_has_noted_go_along(tmp_path):
    class Writer:
        def start(self, run):
            self.path = run.savefile / "rows.txt"
            self.path.write_text(run.run_id)
            run.remember(file="rows.txt", server="http://127.0.0.1/rows.txt", up="../mine")

        def save(self, epoch):
            pass

    ids = []
    for _ in range(2):
        model = nn.Linear(3, 2)
        with SaturationTracker(tmp_path, Writer(), model) as tracker:
            model(torch.rand(20, 3))
            tracker.add_saturations()
        ids.append((tmp_path / "rows.txt").read_text())
    assert (tmp_path / "earlier" / "1" / "rows.txt").read_text() == ids[0] != ids[1]


def test_a_folder_that_cannot_be_made_stops_the_run_before_anything_is_lost(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    record(tmp_path, 2)
    (tmp_path / "earlier").write_text("a file of the user's")
    with pytest.raises(JournalError, match=r"run of 2 epochs, which cannot be moved .*overwrite"):
        record(tmp_path, 1)
    assert read_run(tmp_path).epochs == [0, 1]
    (tmp_path / "earlier").unlink()
    (tmp_path / "earlier").symlink_to(Path(tmp_path.parent))
    with pytest.raises(JournalError, match="is a link"):
        record(tmp_path, 1)
    assert read_run(tmp_path).epochs == [0, 1]
