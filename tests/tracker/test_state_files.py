"""The state of each process in a trainer's checkpoint."""

import os

import pytest
import torch

from delve.tracker import read_state, write_state

STATE = {"tracker": {"epoch": 3, "processes": 1, "process-0": b"a"}, "scalars": {"loss": 0.5}}


def of_two(rank):
    kept = {"epoch": 3, "processes": 2, f"process-{rank}": b"a"}
    return {"tracker": kept, "scalars": {"loss": float(rank)}}


def test_each_process_finds_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("delve.numerics.processes.place", lambda: (0, 2))
    for rank in (0, 1):
        write_state(tmp_path, rank, of_two(rank))
    assert [read_state(tmp_path, rank) for rank in (0, 1)] == [of_two(0), of_two(1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delve-0.pt", "delve-1.pt"]


def test_another_number_of_processes_finds_what_all_kept(tmp_path):
    for rank in (0, 1):
        write_state(tmp_path, rank, of_two(rank))
    state = read_state(tmp_path, 0)
    assert [sorted(kept) for kept in state["tracker"]] == [
        ["epoch", "process-0", "processes"],
        ["epoch", "process-1", "processes"],
    ]
    assert state["scalars"] == {"loss": 0.0}


def test_without_a_tracker_nothing_is_kept(tmp_path):
    write_state(tmp_path, 0, None)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_a_warning(tmp_path, caplog):
    write_state(tmp_path / "none", 0, STATE)
    assert "could not be kept" in caplog.text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x80\x04."])
def test_a_file_that_is_none_is_passed_over(tmp_path, content, caplog):
    (tmp_path / "delve-0.pt").write_bytes(content)
    assert read_state(tmp_path, 0) is None
    assert "cannot be read and is passed over" in caplog.text


def test_no_code_in_a_file_is_run(tmp_path, caplog):
    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/sprung",)

    torch.save({**STATE, "scalars": Trap()}, tmp_path / "delve-0.pt")
    assert read_state(tmp_path, 0) is None
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", ["link", "other"])
def test_what_is_no_state_is_none(tmp_path, kind):
    if kind == "link":
        write_state(tmp_path, 1, STATE)
        (tmp_path / "delve-0.pt").symlink_to(tmp_path / "delve-1.pt")
    else:
        torch.save({"weights": 3}, tmp_path / "delve-0.pt")
    assert read_state(tmp_path, 0) is None
