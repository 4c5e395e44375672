"""Whose file is it: what Delve did not write is neither replaced, cut nor deleted."""

import json
import os
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from delve_npy import NPYWriter, has_value
from delve_npy import arrays as npy_arrays
from delve_npy.arrays import ArrayFolder
from delve_npy.scalars import ScalarTable

from delve.errors import RejectedError, WriterConfigurationError
from delve.files.array_file import read_array
from delve.records import Metric, Origin, RunInfo
from delve.testing import journal_rows, train

CONV = Metric("train", "covariance-matrix", "conv")
SPECTRUM = Metric("train", "spectrum", "conv")
STATS = ["lsat", "cov"]


def scalar_rows(path):
    with np.load(path) as scalars:
        arrays = dict(scalars)
    epochs = arrays.pop("epoch").tolist()
    return {
        epoch: {
            name: float(values[place])
            for name, values in arrays.items()
            if has_value(values)[place]
        }
        for place, epoch in enumerate(epochs)
    }


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def arrays_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*/epoch*.npy"))


class Recorded:
    """A writer, fed without a tracker; what it remembers is in ``state``."""

    def __init__(self, folder, first=0, state=None, origin=None, last=-1, **arguments):
        folder.mkdir(exist_ok=True)
        self.run = RunInfo(
            folder,
            "id",
            0,
            initial_epoch=first,
            state={} if state is None else state,
            origin=origin,
            epochs=tuple(range(last + 1)) if last >= 0 else tuple(range(first)),
        )
        self.writer = NPYWriter(folder, **arguments)
        if first:
            self.writer.resume_from_saved_state(first, self.run)
        else:
            self.writer.start(self.run)

    def save(self, *epochs, metrics=(CONV,)):
        for epoch in epochs:
            for metric in metrics:
                self.writer.add_array(metric, np.full((2, 2), epoch + 0.5), epoch, self.run)
            self.writer.add_scalars({Metric("train", "saturation", "conv"): epoch / 7}, epoch)
            self.writer.save(epoch, self.run)
        return self

    def close(self):
        self.writer.close()
        return self.run.state


def foreign_array(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.arange(3.0))


FOREIGN_TABLES = {
    "a table": lambda path: np.savez(path, epoch=np.arange(3), loss=np.arange(3.0)),
    "compressed": lambda path: np.savez_compressed(path, weights=np.eye(9)),
    "no zip file": lambda path: path.write_bytes(b"theirs"),
    "empty": lambda path: path.touch(),
}


@pytest.mark.parametrize("first", [0, 2], ids=["new", "resumed"])
@pytest.mark.parametrize("make", FOREIGN_TABLES.values(), ids=FOREIGN_TABLES)
def test_another_programs_table_stays_and_ours_has_another_name(tmp_path, make, first, caplog):
    if first:
        train(tmp_path, "csv", range(first), stats=STATS)
    foreign = tmp_path / "npy" / "scalars.npz"
    foreign.parent.mkdir()
    make(foreign)
    before = foreign.read_bytes(), foreign.stat().st_ino
    train(tmp_path, "npy", range(first, 4), stats=STATS)
    train(tmp_path, "npy", range(3, 6), stats=STATS)
    assert (foreign.read_bytes(), foreign.stat().st_ino) == before
    assert scalar_rows(tmp_path / "npy" / "scalars-delve.npz") == journal_rows(tmp_path)
    assert sum("scalars-delve.npz" in message for message in caplog.messages) == 1
    train(tmp_path, "npy", range(2), stats=STATS)  # a new run: the earlier one's goes
    assert (foreign.read_bytes(), foreign.stat().st_ino) == before
    assert scalar_rows(tmp_path / "npy" / "scalars-delve.npz") == journal_rows(tmp_path)


def test_a_table_that_comes_in_place_of_ours_stays(tmp_path, caplog):
    run = Recorded(tmp_path).save(0)
    path = tmp_path / "npy" / "scalars.npz"
    np.savez(path, epoch=np.arange(3), loss=np.arange(3.0))
    before = path.read_bytes()
    state = run.save(1, 2).close()
    Recorded(tmp_path, 3, state).save(3).close()
    assert path.read_bytes() == before
    assert list(scalar_rows(tmp_path / "npy" / "scalars-delve.npz")) == [0, 1, 2, 3]
    assert sum("scalars-delve.npz" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("first", [0, 2], ids=["new", "resumed"])
def test_another_programs_arrays_stay_and_ours_have_another_folder(tmp_path, first, caplog):
    if first:
        train(tmp_path, "csv", range(first), stats=STATS)
    for epoch in (0, 3, 9):
        foreign_array(tmp_path / f"npy/train-covariance-matrix/0/epoch{epoch:05d}.npy")
    (tmp_path / "npy/train-covariance-matrix/0/epoch00004.npy").touch()
    before = contents(tmp_path / "npy")
    train(tmp_path, "npy", range(first, 4), stats=STATS)
    train(tmp_path, "npy", range(3, 5), stats=STATS)
    assert contents(tmp_path / "npy") == before
    held = arrays_in(tmp_path / "npy-delve")
    assert f"train-covariance-matrix/0/epoch{first:05d}.npy" in held
    assert "train-covariance-matrix/0/epoch00004.npy" in held
    assert scalar_rows(tmp_path / "npy-delve/scalars.npz") == journal_rows(tmp_path)
    assert sum("npy-delve" in message for message in caplog.messages) == 1
    train(tmp_path, "npy", range(1), stats=STATS)
    assert contents(tmp_path / "npy") == before
    assert "train-covariance-matrix/0/epoch00004.npy" not in arrays_in(tmp_path / "npy-delve")


def test_a_folder_with_other_things_is_shared(tmp_path):
    others = ["notes.txt", "weights.npy", "train-covariance-matrix/mine.npy", "a/b/epoch00000.npy"]
    for name in others:
        foreign_array(tmp_path / "npy" / name)
    np.save(tmp_path / "npy/notes.txt.npy", np.eye(2))
    before = contents(tmp_path / "npy")
    Recorded(tmp_path).save(0, 1).close()
    Recorded(tmp_path).save(0).close()
    after = contents(tmp_path / "npy")
    assert before.items() <= after.items()
    assert arrays_in(tmp_path / "npy") == [
        "a/b/epoch00000.npy",
        "train-covariance-matrix/conv/epoch00000.npy",
    ]
    assert not (tmp_path / "npy-delve").exists()


@pytest.mark.parametrize("first", [0, 1])
def test_a_file_in_the_folders_place_stays(tmp_path, first):
    (tmp_path / "npy").write_bytes(b"theirs")
    state = Recorded(tmp_path, first).save(first).close()
    assert (tmp_path / "npy").read_bytes() == b"theirs"
    assert arrays_in(tmp_path / "npy-delve")
    assert state["folder"] == "npy-delve"


def test_an_array_of_another_program_in_our_place_stays(tmp_path, caplog):
    """One is left out; what follows is stored."""
    state = Recorded(tmp_path).save(0, 1, 2, 3).close()
    place = tmp_path / "npy" / ArrayFolder.place(CONV)
    foreign_array(place / "epoch00002.npy")
    before = (place / "epoch00002.npy").read_bytes()
    Recorded(tmp_path, 2, state).save(2, 3, 4).close()
    assert (place / "epoch00002.npy").read_bytes() == before
    assert [read_array(place / f"epoch0000{epoch}.npy")[0, 0] for epoch in (0, 1, 3, 4)] == [
        0.5,
        1.5,
        3.5,
        4.5,
    ]
    assert caplog.text.count("epoch00002.npy is not Delve's and stays as it is") == 1


@pytest.mark.parametrize("content", ["zip", "text"])
def test_another_programs_zip_file_stays(tmp_path, content):
    path = tmp_path / "npy.zip"
    if content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data/weights.npy", b"theirs")
    else:
        path.write_text("theirs")
    before = path.read_bytes()
    state = Recorded(tmp_path, zip=True).save(0).close()
    assert path.read_bytes() == before
    with zipfile.ZipFile(tmp_path / "npy-delve.zip") as archive:
        assert "npy/scalars.npz" in archive.namelist()
    resumed = Recorded(tmp_path, 1, state, zip=True)
    assert not (tmp_path / "npy-delve.zip").exists()
    resumed.save(1).close()
    assert path.read_bytes() == before
    with zipfile.ZipFile(tmp_path / "npy-delve.zip") as archive:
        assert len(archive.namelist()) == 3


def test_a_resumed_run_that_finds_a_mixed_folder_takes_another(tmp_path):
    """Its own by another name of the writer, or an earlier run's, beside what is nobody's."""
    train(tmp_path, "csv", range(2))
    (tmp_path / "journal.jsonl").rename(tmp_path / "j")
    Recorded(tmp_path).save(0, 1).close()
    (tmp_path / "npy/notes.txt").write_text("theirs")
    before = contents(tmp_path / "npy")
    run = RunInfo(tmp_path, "id", 0, initial_epoch=2)
    writer = NPYWriter(tmp_path)
    writer.start(run)
    writer.close()
    assert contents(tmp_path / "npy") == before
    assert (tmp_path / "npy-delve/scalars.npz").exists()


def test_a_kill_before_the_array_is_there_leaves_no_false_damage(tmp_path, caplog):
    """The line of the checksum is there before its file: written once, and written again."""
    state = Recorded(tmp_path).save(0, 1).close()
    with (tmp_path / "npy/checksums.jsonl").open("a") as file:
        for epoch in (1, 2):
            name = f"{ArrayFolder.place(CONV)}/epoch{epoch:05d}.npy"
            file.write(json.dumps({"file": name, "crc32": "00000000"}) + "\n")
        file.write('{"file": "torn')
    resumed = Recorded(tmp_path, 2, state)
    assert len(arrays_in(tmp_path / "npy")) == 2
    resumed.save(2).close()
    lines = (tmp_path / "npy/checksums.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"][-9:-4] for line in lines] == [
        "00000",
        "00001",
        "00001",
        "00002",
    ]
    assert "damaged" not in caplog.text
    place = tmp_path / "npy" / ArrayFolder.place(CONV)
    for line in map(json.loads, lines[-1:]):
        assert line["crc32"] == f"{zlib.crc32((place / 'epoch00002.npy').read_bytes()):08x}"


def test_an_array_that_a_kill_left_without_the_epochs_end_is_cut(tmp_path):
    run = Recorded(tmp_path).save(0)
    run.writer.add_array(CONV, np.eye(2), 1, run.run)
    Recorded(tmp_path, 1, run.run.state)
    assert arrays_in(tmp_path / "npy") == [f"{ArrayFolder.place(CONV)}/epoch00000.npy"]


TORN_HEADER = b"\x93NUMPY\x01\x00\xf6\x00{'descr': '<f8', 'fortran_order': Fal"


@pytest.mark.parametrize("left", [b"", bytes(4096), TORN_HEADER, TORN_HEADER + bytes(200)])
def test_what_a_power_cut_left_is_known_for_ours(tmp_path, left, caplog):
    """The file is there, and neither its content nor the line of its checksum."""
    state = Recorded(tmp_path).save(0, 1, 2).close()
    place = tmp_path / "npy" / ArrayFolder.place(CONV)
    checksums = tmp_path / "npy/checksums.jsonl"
    checksums.write_text("".join(checksums.read_text().splitlines(True)[:1]))
    for epoch in (1, 2):
        (place / f"epoch0000{epoch}.npy").write_bytes(left)
    Recorded(tmp_path, 2, state).save(2).close()
    assert sorted(path.name for path in place.iterdir()) == [
        "epoch00000.npy",
        "epoch00001.damaged.npy",
        "epoch00002.npy",
    ]
    assert "1 arrays are damaged" in caplog.text


@pytest.mark.parametrize("first", [256, 260])
def test_an_array_of_zeros_whose_checksum_a_power_cut_took_does_not_count(tmp_path, first, caplog):
    state = Recorded(tmp_path).save(0, 1, 2).close()
    checksums = tmp_path / "npy/checksums.jsonl"
    checksums.write_text("".join(checksums.read_text().splitlines(True)[:1]))
    path = tmp_path / "npy" / ArrayFolder.place(CONV) / "epoch00001.npy"
    content = path.read_bytes()
    path.write_bytes(content[:first] + bytes(len(content) - first))
    Recorded(tmp_path, 3, state).save(3).close()
    assert "1 arrays are damaged" in caplog.text
    assert path.with_name("epoch00001.damaged.npy").exists()
    assert "stay lost: epochs 1 of" in caplog.text


def test_without_its_checksums_an_array_counts_as_sound(tmp_path, caplog):
    state = Recorded(tmp_path).save(0, 1, 2).close()
    (tmp_path / "npy/checksums.jsonl").unlink()
    Recorded(tmp_path, 2, state).save(2).close()
    assert len(arrays_in(tmp_path / "npy")) == 3
    assert "damaged" not in caplog.text


def test_an_earlier_versions_folder_goes_on(tmp_path, caplog):
    """Its arrays end in their checksum, and its journal does not tell the folder's name."""
    train(tmp_path, "npy", range(4), stats=STATS)
    (tmp_path / "npy/checksums.jsonl").unlink()
    journal = tmp_path / "journal.jsonl"
    lines = [line for line in journal.read_text().splitlines(True) if '"folder"' not in line]
    lines.insert(1, '{"type": "state", "writer": "npy", "state": {}, "opened": true}\n')
    journal.write_text("".join(lines))
    for path in (tmp_path / "npy").glob("*/*/*.npy"):
        np.save(path, np.load(path))
        checksum = np.array(zlib.crc32(path.read_bytes()), dtype="<u4")
        with path.open("ab") as file:
            np.save(file, checksum)
    places = len({path.parent for path in (tmp_path / "npy").glob("*/*/*.npy")})
    cut_short = next((tmp_path / "npy").glob("*/*/epoch00001.npy"))
    os.truncate(cut_short, 150)
    train(tmp_path, "npy", range(3, 5), stats=STATS)
    assert "1 arrays are damaged" in caplog.text
    assert cut_short.with_name("epoch00001.damaged.npy").exists()
    assert len(arrays_in(tmp_path / "npy")) == 5 * places
    assert not (tmp_path / "npy-delve").exists()
    assert scalar_rows(tmp_path / "npy/scalars.npz") == journal_rows(tmp_path)


def test_a_list_of_checksums_that_is_not_ours_stays(tmp_path, caplog):
    path = tmp_path / "npy/checksums.jsonl"
    path.parent.mkdir()
    path.write_text('{"sha": "theirs"}\n')
    state = Recorded(tmp_path).save(0).close()
    Recorded(tmp_path, 1, state).save(1).close()
    assert path.read_text() == '{"sha": "theirs"}\n'
    assert len(arrays_in(tmp_path / "npy")) == 2
    assert "checksums.jsonl is not Delve's" in caplog.text


class TestCopiedFolder:
    def test_lost_arrays_of_the_origin_are_named(self, tmp_path, caplog):
        state = Recorded(tmp_path / "a").save(0, 1).close()
        assert state["arrays_since"] == 0
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        (tmp_path / "b/npy" / ArrayFolder.place(CONV) / "epoch00001.npy").unlink()
        origin = Origin("old", str(tmp_path / "a"), state)
        copied = Recorded(tmp_path / "b", 2, origin=origin).save(2)
        assert "stay lost: epochs 1 of train-covariance-matrix/conv" in caplog.text
        caplog.clear()
        copied.close()
        Recorded(tmp_path / "b", 3, copied.run.state, origin).save(3).close()
        assert "lost" not in caplog.text

    def test_it_goes_on_in_its_own_folder(self, tmp_path):
        foreign_array(tmp_path / "a/npy" / ArrayFolder.place(CONV) / "epoch00000.npy")
        state = Recorded(tmp_path / "a").save(0, 1).close()
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        before = contents(tmp_path / "a")
        origin = Origin("old", str(tmp_path / "a"), state)
        Recorded(tmp_path / "b", 1, origin=origin).save(1, 2).close()
        assert len(arrays_in(tmp_path / "b/npy-delve")) == 3
        assert contents(tmp_path / "a") == before


JUNK = [
    {"arrays_since": "x", "every": 1},
    {"arrays_since": [1], "every": 1},
    {"arrays_since": True, "every": 1},
    {"arrays_since": 0, "every": 0},
    {"arrays_since": 0, "every": "2"},
    {"arrays_since": 0, "every": 1, "computed": 5},
    {"arrays_since": 0, "every": 1, "computed": [["a"]]},
    {"arrays_since": 0, "every": 1, "computed": ["a/b/c"]},
    {"arrays_since": 0, "every": None},
]


@pytest.mark.parametrize("state", JUNK, ids=repr)
def test_a_state_of_any_shape_is_passed_over_and_said_once(tmp_path, caplog, state):
    Recorded(tmp_path).save(0, 1).close()
    caplog.clear()
    run = Recorded(tmp_path, 2, state).save(2)
    state = run.close()
    Recorded(tmp_path, 3, state).save(3).close()
    assert sum("passed over" in message for message in caplog.messages) == 1
    assert len(arrays_in(tmp_path / "npy")) == 4


@pytest.mark.parametrize(
    "name", [1, [], "..", "../x", "npy/../..", "/etc", "npy-delve-99999", "\0"]
)
def test_a_folder_of_any_name_is_passed_over(tmp_path, name):
    Recorded(tmp_path / "run").save(0).close()
    state = Recorded(tmp_path / "run", 1, {"folder": name}).save(1).close()
    assert len(arrays_in(tmp_path / "run/npy")) == 2
    assert state["folder"] == "npy"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


class TestRefusals:
    """One array that can never be stored is not an outage."""

    def check(self, run, metric, reason):
        with pytest.raises(RejectedError, match=reason) as refused:
            run.writer.add_array(metric, np.eye(2), 0, run.run)
        assert refused.value.items == (metric,)
        run.save(0)
        run.close()
        assert f"{ArrayFolder.place(CONV)}/epoch00000.npy" in arrays_in(run.writer.path)

    def test_a_name_too_long_for_the_file_system(self, tmp_path, monkeypatch):
        """Some take fewer characters than others, as eCryptfs does."""
        monkeypatch.setattr(npy_arrays, "array_place", lambda m: (f"{m.mode}-{m.stat}", m.layer))
        metric = Metric("train", "covariance-matrix", "x" * 300)
        self.check(Recorded(tmp_path), metric, "File name too long")

    def test_a_path_too_long_for_the_system(self, tmp_path, monkeypatch):
        folder = tmp_path
        while len(str(folder)) < 3900:
            folder = folder / ("d" * 90)
        folder = folder / ("d" * (4000 - len(str(folder))))
        monkeypatch.chdir(tmp_path)
        folder.mkdir(parents=True)
        metric = Metric("train", "covariance-matrix", "x" * 100)
        self.check(Recorded(folder), metric, "File name too long")

    @pytest.mark.parametrize("make", ["link", "file"])
    def test_something_in_a_layers_place(self, tmp_path, make):
        place = tmp_path / "npy" / ArrayFolder.place(SPECTRUM)
        place.parent.mkdir(parents=True)
        place.symlink_to(tmp_path) if make == "link" else place.write_text("theirs")
        self.check(Recorded(tmp_path), SPECTRUM, "a link in the place of|File exists")

    def test_a_place_that_may_not_be_written_to(self, tmp_path):
        """The super-user may write anywhere, so another process has to try."""
        place = tmp_path / "npy" / ArrayFolder.place(SPECTRUM)
        place.mkdir(parents=True)
        for folder in (tmp_path, tmp_path / "npy", place.parent):
            folder.chmod(0o777)
        place.chmod(0o555)
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0
            return
        status = 1
        try:
            os.chdir(tmp_path)
            if os.geteuid() == 0:
                os.setuid(65534)
            writer = ArrayFolder(Path("npy"), np.dtype("float64"))
            writer.write(CONV, 0, np.eye(2))
            try:
                writer.write(SPECTRUM, 0, np.eye(2))
            except RejectedError as error:
                status = int(error.items != (SPECTRUM,))
        finally:
            os._exit(status)

    def test_what_is_no_array_of_numbers(self, tmp_path):
        run = Recorded(tmp_path)
        with pytest.raises(RejectedError, match="no array of numbers"):
            run.writer.add_array(SPECTRUM, np.array(["x"], dtype=object), 0, run.run)
        run.save(0).close()
        assert arrays_in(run.writer.path) == [f"{ArrayFolder.place(CONV)}/epoch00000.npy"]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.mkfifo, "a pipe"),
        (os.mkdir, "a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "a link"),
    ],
)
def test_what_is_no_file_is_refused_by_name(tmp_path, make, what, first):
    Recorded(tmp_path).save(0).close()
    (tmp_path / "npy/scalars.npz").unlink()
    make(tmp_path / "npy/scalars.npz")
    with pytest.raises(WriterConfigurationError, match=rf"scalars\.npz is {what}.*move it away"):
        Recorded(tmp_path, first, {"folder": "npy"})


@pytest.mark.parametrize("name", ["scalars.npz", "checksums.jsonl"])
def test_a_file_far_larger_than_the_journal_explains_is_refused_unread(tmp_path, name):
    state = Recorded(tmp_path).save(0).close()
    path = tmp_path / "npy" / name
    content = path.read_bytes()
    os.truncate(path, 1 << 40)
    with path.open("r+b") as file:
        file.seek(-len(content), os.SEEK_END)
        file.write(content)
    with pytest.raises(WriterConfigurationError, match=rf"{name} holds 1099511627776 bytes"):
        Recorded(tmp_path, 1, state)


def test_a_table_that_unpacks_to_more_than_it_holds_is_not_unpacked(tmp_path):
    """A zip file of a few kilobytes can hold gigabytes of zeros."""
    path = tmp_path / "scalars.npz"
    table = ScalarTable()
    table.put(0, {"a": 1.0})
    table.write(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", bytes(100 << 20))
        archive.comment = b"3 arrays"
    with pytest.raises(Exception, match="it is compressed"):
        ScalarTable.read(path)


@pytest.mark.parametrize("zip_too", [False, True])
def test_a_last_write_that_fails_once_loses_nothing(tmp_path, monkeypatch, zip_too):
    run = Recorded(tmp_path, zip=zip_too)
    run.save(0)
    run.writer._pace._next = float("inf")  # so that the rest is written by close alone
    run.save(1, 2)
    failures = iter([OSError(28, "No space left on device")])
    write = ScalarTable.write

    def failing(table, path):
        for failure in failures:
            raise failure
        write(table, path)

    monkeypatch.setattr(ScalarTable, "write", failing)
    run.close()
    assert list(scalar_rows(tmp_path / "npy/scalars.npz")) == [0, 1, 2]
    assert (tmp_path / "npy.zip").exists() == zip_too
