"""The layer that cuts the power: what was fsynced stands, and of the rest anything may be left."""

import os
import random
import subprocess
import sys

import pytest
from support.cut_runs import broken_promises
from support.disk_notes import Confirmed
from support.power_cuts import OnDisk, PowerCut
from support.tally import Tally

from delve.journal.lines import encode

WRITES = """
import os, sys
from pathlib import Path
from support.disk_notes import DiskNotes

folder = Path(sys.argv[1])
DiskNotes(folder, Path(sys.argv[2]))
with (folder / "journal.jsonl").open("wb", buffering=0) as file:
    file.write(b"a" * 1000)
    os.fsync(file.fileno())
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    file.write(b"b" * 2000)
(folder / "metrics.csv").write_bytes(b"old" * 500)
(folder / ".metrics.csv.tmp").write_bytes(b"new" * 600)
os.replace(folder / ".metrics.csv.tmp", folder / "metrics.csv")
(folder / "npy").mkdir()
(folder / "npy" / "removed.npy").write_bytes(b"gone" * 100)
os.remove(folder / "npy" / "removed.npy")
(folder / "npy" / "array.npy").write_bytes(b"array" * 100)
(folder / "events").write_bytes(b"event" * 300)
os.truncate(folder / "events", 50)
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "run"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-c", WRITES, str(folder), str(folder.with_name("notes"))],
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return folder


def after_a_cut(folder, seed):
    """What is left of it, by name; the folder is as before in the end."""
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    before = OnDisk(folder.with_name("before"))
    confirmed = Confirmed.read(folder.with_name("notes"))
    PowerCut(folder, before, confirmed, random.Random(seed)).apply()
    left = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for path in [path for path in folder.rglob("*") if path.is_file() and path not in whole]:
        path.unlink()
    for path, content in whole.items():
        path.parent.mkdir(exist_ok=True)
        with path.open("r+b" if path.exists() else "wb") as file:
            file.truncate(0)
            file.write(content)
    return left


def test_a_cut_leaves_what_was_fsynced_and_anything_of_the_rest(written):
    seen = {}
    for seed in range(400):
        left = after_a_cut(written, seed)
        assert left["journal.jsonl"].startswith(b"a" * 1000)
        for name in ("journal.jsonl", "metrics.csv", "npy/array.npy", "npy/removed.npy", "events"):
            seen.setdefault(name, set()).add(left.get(name))
    assert {len(content) for content in seen["journal.jsonl"]} > {1000 + 2000}
    assert any(content.endswith(bytes(9)) and b"b" in content for content in seen["journal.jsonl"])
    assert {None, b"", b"old" * 500, b"new" * 600} < seen["metrics.csv"]
    assert {None, b"array" * 100, bytes(500)} < seen["npy/array.npy"]
    assert {None, b"gone" * 100} == seen["npy/removed.npy"]
    assert {None, b"event" * 300, b"event" * 10} < seen["events"]


def test_what_stood_at_an_earlier_cut_stands(written, tmp_path):
    before = OnDisk(tmp_path / "before")
    before.take(written)
    (written / "npy" / "later.npy").write_bytes(b"later")
    for seed in range(50):
        cut = PowerCut(written, before, Confirmed(), random.Random(seed))
        cut.apply()
        assert all(done.startswith("npy/later.npy") for done in cut.done)
    (written / "npy" / "later.npy").unlink(missing_ok=True)


def line(number, epoch, milliseconds):
    entry = {"epoch": epoch, "time": milliseconds, "scalars": {}, "metrics": {}}
    return encode({"type": "epoch", **entry}, number)


@pytest.mark.parametrize(("second", "broken"), [(900, 0), (3000, 1)])
def test_epochs_of_more_than_a_second_that_the_disk_lacks_are_a_broken_promise(
    tmp_path, second, broken
):
    journal = tmp_path / "journal.jsonl"
    times = (5000, 6000, 6000 + second, 7000 + second)  # in the last one the power went
    lines = [line(1 + epoch, epoch, time) for epoch, time in enumerate(times)]
    journal.write_bytes(b"".join(lines))
    confirmed = Confirmed(sizes={journal.stat().st_ino: len(lines[0])})
    assert len(broken_promises(tmp_path, confirmed, OnDisk(tmp_path))) == broken
    confirmed.sizes[journal.stat().st_ino] = len(lines[0] + lines[1])
    assert broken_promises(tmp_path, confirmed, OnDisk(tmp_path)) == []


def test_the_figures_count_each_epoch_that_is_not_as_it_should_be():
    wanted = {epoch: {"loss": 1.0, "late": float("nan")} for epoch in range(5)}
    held = [(e, name, value) for e, row in wanted.items() for name, value in row.items()]
    tally = Tally()
    tally.count(held, wanted)
    assert (tally.epochs, tally.lost, tally.doubled, tally.stale) == (5, 0, 0, 0)
    held.remove((0, "loss", 1.0))
    held += [(1, "loss", 1.0), (2, "other", 1.0), (7, "loss", 1.0), (8, "loss", 1.0)]
    held[held.index((3, "loss", 1.0))] = (3, "loss", 2.0)
    tally.count(held, wanted)
    assert (tally.epochs, tally.lost, tally.doubled, tally.stale) == (12, 1, 1, 4)
