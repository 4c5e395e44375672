"""W&B's local files, read as far as they can be: whole, torn and damaged."""

import os
import time

import pytest
import wandb
from delve_wandb import WandbWriter, records
from delve_wandb.segments import Segment, segment_of, segments
from wandb_files import read_run_file, run_files

from delve import RunInfo

LONG = 40_000  # characters of a value: a row goes over the end of the file's blocks of 32 KiB


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A finished run's segment, with rows of many sizes."""
    folder = tmp_path_factory.mktemp("written")
    with wandb.init(dir=folder, id="a[1]", mode="offline", project="p", reinit="create_new") as run:
        for epoch in range(12):
            run.log({"epoch": epoch, "text": "x" * (LONG * epoch // 7), "a": {"b": epoch}})
        segment = segment_of(run)
    wandb.teardown()
    assert segments(folder, "a[1]") == [segment]
    return segment


def epochs(segment):
    return [int(row["epoch"]) for row in segment.rows()]


def test_every_row_is_read(written):
    rows = list(written.rows())
    assert epochs(written) == list(range(12))
    assert [len(row["text"]) for row in rows] == [LONG * n // 7 + len('""') for n in range(12)]
    assert [row["a.b"] for row in rows] == [str(epoch) for epoch in range(12)]


@pytest.mark.parametrize("damage", ["torn", "flipped"])
def test_a_damaged_file_is_read_up_to_the_damage(written, tmp_path, damage):
    data = written.file.read_bytes()
    found = []
    for at in [*range(0, len(data), 3000), len(data) - 1]:
        rest = b"" if damage == "torn" else bytes([data[at] ^ 1]) + data[at + 1 :]
        damaged = Segment(tmp_path / "run-a.wandb")
        damaged.file.write_bytes(data[:at] + rest)
        found.append(epochs(damaged))
    assert found == [list(range(len(those))) for those in found]
    lengths = [len(those) for those in found]
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (0, 12)
    assert set(lengths) >= set(range(2, 12))


def test_what_is_no_file_of_wandbs_has_no_rows(tmp_path):
    segment = Segment(tmp_path / "run-a.wandb")
    assert epochs(segment) == []
    for content in (b"", b":W&B", b"something else " * 9000):
        segment.file.write_bytes(content)
        assert epochs(segment) == []


def test_the_end_of_a_file_is_read_from_its_last_blocks(written):
    whole, end = list(records.read(written.file)), list(records.read_end(written.file))
    assert end == whole[-len(end) :]
    assert 0 < len(end) < len(whole)
    assert written._has_ended()


def test_a_run_that_is_finished_offline_is_whole_on_disk(tmp_path):
    wandb.setup()  # a service of the user's, which goes on
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        writer, run = WandbWriter(folder), RunInfo(folder, "run", 0)
        writer.start(run)
        writer.add_scalar("loss", 1.0)
        writer.save(0, 1000, run)
        writer.close(None, run)
        (file,) = run_files(folder)
        assert read_run_file(file).exit_code == 0


def test_a_torn_or_missing_file_is_waited_for_no_longer_than_a_moment(tmp_path):
    torn = Segment(tmp_path / "run-a.wandb")
    begun = time.monotonic()
    torn.wait_for_end()
    torn.file.write_bytes(b":W&B")
    torn.wait_for_end()
    assert time.monotonic() - begun < 6


def test_the_mark_of_a_superseded_segment_is_durable_before_it_is_there(tmp_path, monkeypatch):
    """Emptied by a power cut it would say that the segment was uploaded, and count as synced."""
    fsync, synced = os.fsync, {}

    def noting(file):
        status = os.fstat(file)
        synced[status.st_ino] = status.st_size, mark.exists()
        fsync(file)

    monkeypatch.setattr(os, "fsync", noting)
    segment = Segment(tmp_path / "offline-run-1" / "run-a.wandb")
    segment.file.parent.mkdir()
    segment.file.touch()
    mark = tmp_path / "offline-run-1" / "run-a.wandb.synced"
    segment.supersede()
    assert synced[mark.stat().st_ino] == (mark.stat().st_size, False)
    assert synced[mark.parent.stat().st_ino][1]  # and then its name
    assert mark.stat().st_size
    assert not segment.is_uploaded
