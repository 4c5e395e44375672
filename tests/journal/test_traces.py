"""What tells of a run where there is no journal, and what does not."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError
from delve.journal.traces import find_traces

TABLE = "epoch,train-saturation/fc,loss\n0,0.5,1\n"


def write(folder, name, content=b""):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


TRACES = {
    "metrics.csv": TABLE,
    "journal.1.jsonl": "{}\n",
    "npy/eval-covariance-matrix/fc/epoch00003.npy": "",
    "plots/train-intrinsic-dimensionality/epoch00000.png": "",
    "plots/train-spectrum/epoch00000.png": "",
    "tensorboard/events.out.tfevents.1.host.2.delve": "",
    "tensorboard/eval/events.out.tfevents.1.host.2.delve": "",
}

OTHERS = {
    "train.log": "started\n",
    ".hydra/config.yaml": "lr: 0.1\n",
    "config.json": "{}",
    "checkpoints/last.ckpt": "",
    "metrics.csv": "epoch,loss\n0,1\n",  # Lightning's, Keras's and many a script's
    "plots/loss.png": "",
    "plots/train-loss/epoch00000.png": "",
    "plots/train-saturation/notes.txt": "",
    "npy/labels.npy": "",
    "npy/train-images/a/epoch00000.npy": "",
    "npy/scalars.npz": "PK",
    "tensorboard/events.out.tfevents.1.host.2.0": "",
    "events.out.tfevents.1.host": "",
    "journal.txt": "",
    "journal.jsonl.bak": "",
    ".lock": "",
}


@pytest.mark.parametrize("name", TRACES)
def test_a_file_of_delves_is_a_trace(tmp_path, name):
    write(tmp_path, name, TRACES[name])
    (found,) = find_traces(tmp_path)
    assert name.startswith(found)


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_others_is_none(tmp_path, name):
    write(tmp_path, name, OTHERS[name])
    assert find_traces(tmp_path) == []


@pytest.mark.parametrize("writer", ["csv", "npy", "plot", "tensorboard"])
def test_each_backend_leaves_a_trace(tmp_path, writer):
    pytest.importorskip(f"delve_{writer}")
    layer = nn.Linear(3, 2)
    with SaturationTracker(tmp_path, writer, layer) as tracker:
        layer(torch.randn(9, 3))
        tracker.add_saturations()
    (tmp_path / "journal.jsonl").unlink()
    traces = find_traces(tmp_path)
    assert traces
    with pytest.raises(ArgumentError, match=r"holds no journal, but files of a run") as raised:
        SaturationTracker(tmp_path, Recorder(), layer, initial_epoch="auto")
    assert all(trace in str(raised.value) for trace in traces)
    assert "put journal.jsonl back" in str(raised.value)


def test_auto_begins_at_0_beside_the_files_of_others(tmp_path):
    for name, content in OTHERS.items():
        write(tmp_path, name, content)
    with SaturationTracker(tmp_path, Recorder(), nn.Linear(3, 2), initial_epoch="auto") as tracker:
        assert tracker.epoch == 0
        tracker.save()
    for name, content in OTHERS.items():
        assert (tmp_path / name).read_text() == content
    with SaturationTracker(tmp_path, Recorder(), nn.Linear(3, 2), initial_epoch="auto") as tracker:
        assert tracker.epoch == 1


def test_links_and_pipes_are_not_followed(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "run"
    folder.mkdir()
    for name, content in TRACES.items():
        write(elsewhere, name, content)
    for name in ("npy", "plots", "tensorboard"):
        (folder / name).symlink_to(elsewhere / name)
    (folder / "metrics.csv").symlink_to(elsewhere / "metrics.csv")
    assert find_traces(folder) == []
    for name in ("metrics.csv", "npy", "plots", "tensorboard"):
        (folder / name).unlink()
    os.mkfifo(folder / "metrics.csv")
    for name in ("npy", "plots", "tensorboard"):
        (folder / name).write_text("a file")
    assert find_traces(folder) == []


def test_a_folder_that_is_not_there_holds_none(tmp_path):
    assert find_traces(tmp_path / "nowhere") == []


def test_only_some_of_many_are_named(tmp_path):
    for name, content in TRACES.items():
        write(tmp_path, name, content)
    np.savez(tmp_path / "npy" / "scalars.npz", epoch=np.arange(2))
    assert len(find_traces(tmp_path)) == 5
    shutil.rmtree(tmp_path / "npy")
    assert all((tmp_path / Path(name)).exists() for name in find_traces(tmp_path))
