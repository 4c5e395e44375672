import logging
import math
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from unittest import mock

import numpy as np
import pytest
from delve_npy import NPYWriter, has_value
from delve_npy.arrays import ArrayFolder
from delve_npy.writer import CHECK_TIME

from delve.delivery.delivery import Delivery
from delve.delivery.discovery import make_writers
from delve.errors import ArgumentError, WriterConfigurationError
from delve.journal.journal import Journal
from delve.records import EpochRecord, Metric, RunInfo
from delve.testing import journal_rows, train, train_and_die

CONV = Metric("train", "covariance-matrix", "features.0")
HEAD = Metric("train", "covariance-matrix", "a/head")


def scalar_rows(folder):
    """Epochs and values of scalars.npz."""
    with np.load(folder / "npy/scalars.npz") as scalars:
        arrays = dict(scalars)
    epochs = arrays.pop("epoch").tolist()
    rows = {epoch: {} for epoch in epochs}
    for name, values in arrays.items():
        for epoch, value, held in zip(epochs, values.tolist(), has_value(values), strict=True):
            if held:
                rows[epoch][name] = value
    return rows


def stored_epochs(folder, metric=CONV):
    files = (folder / "npy" / ArrayFolder.place(metric)).glob("*")
    return sorted(int(file.stem.removeprefix("epoch")) for file in files)


def matrix(epoch, size=3):
    return np.full((size, size), epoch + 1 / 3)


class Arrays:
    """A run with arrays, fed as the tracker feeds it."""

    def __init__(self, folder, initial_epoch=0, **arguments):
        folder.mkdir(exist_ok=True)
        if initial_epoch:
            self.journal = Journal.resume(folder, initial_epoch)
        else:
            self.journal = Journal.create(folder, (), {})
        run = RunInfo(
            folder,
            self.journal.run_id,
            self.journal.created,
            initial_epoch=initial_epoch,
            epochs=tuple(self.journal.epochs),
            metrics=self.journal.metrics,
        )
        writers = make_writers("npy", folder, {"npy": arguments})
        self.delivery = Delivery(writers, self.journal, run)
        self.delivery.open()

    def save(self, epoch, arrays=(CONV, HEAD), saturation=(CONV, HEAD)):
        metrics = {Metric("train", "saturation", metric.layer): 0.5 for metric in saturation}
        row = EpochRecord(epoch, epoch, {"accuracy": 0.5}, metrics)
        self.journal.write_epoch(row, ())
        if not isinstance(arrays, dict):
            arrays = {metric: matrix(epoch) for metric in arrays}
        self.delivery.add_scalar("accuracy", 0.5, epoch, epoch)
        self.delivery.save(row, arrays, ())

    def close(self):
        self.delivery.close(None)
        self.journal.close()


class TestRuns:
    def test_fresh(self, tmp_path):
        train(tmp_path, "npy", range(4))
        rows = scalar_rows(tmp_path)
        assert rows == journal_rows(tmp_path)
        assert list(rows) == [0, 1, 2, 3]

    @pytest.mark.parametrize("first", [4, 2], ids=["at the end", "lower than recorded"])
    def test_resumed_after_a_normal_end(self, tmp_path, first):
        train(tmp_path, "npy", range(4))
        train(tmp_path, "npy", range(first, first + 3))
        assert scalar_rows(tmp_path) == journal_rows(tmp_path)
        assert list(scalar_rows(tmp_path)) == list(range(first + 3))

    @pytest.mark.parametrize("where", ["mid-epoch", "before-writer"])
    def test_resumed_after_a_kill(self, tmp_path, where):
        train_and_die(tmp_path, "npy", range(3), where)
        first = 3 if where == "mid-epoch" else 4
        train(tmp_path, "npy", range(first, 6))
        assert scalar_rows(tmp_path) == journal_rows(tmp_path)
        assert list(scalar_rows(tmp_path)) == list(range(6))

    def test_resumed_twice_within_a_second(self, tmp_path):
        for first in (0, 3, 2):
            train(tmp_path, "npy", range(first, first + 4))
        assert scalar_rows(tmp_path) == journal_rows(tmp_path)
        assert list(scalar_rows(tmp_path)) == [0, 1, 2, 3, 4, 5]

    def test_a_new_run_over_an_old_one(self, tmp_path):
        train(tmp_path, "npy", range(5))
        train(tmp_path, "npy", range(2))
        assert scalar_rows(tmp_path) == journal_rows(tmp_path)
        assert list(scalar_rows(tmp_path)) == [0, 1]

    def test_a_damaged_file_is_kept_and_written_anew_from_the_journal(self, tmp_path, caplog):
        train(tmp_path, "npy", range(4))
        path = tmp_path / "npy/scalars.npz"
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(damaged)
        train(tmp_path, "npy", [4])
        assert scalar_rows(tmp_path) == journal_rows(tmp_path)
        assert list(scalar_rows(tmp_path)) == [0, 1, 2, 3, 4]
        assert path.with_name("scalars.damaged.npz").read_bytes() == damaged
        assert "scalars.damaged.npz" in caplog.text

    def test_without_a_journal_the_file_keeps_what_it_has(self, tmp_path):
        train(tmp_path, "npy", range(4))
        before = scalar_rows(tmp_path)
        (tmp_path / "journal.jsonl").unlink()
        train(tmp_path, "npy", [3])
        after = scalar_rows(tmp_path)
        assert list(after) == [0, 1, 2, 3]
        assert [after[epoch] for epoch in range(3)] == [before[epoch] for epoch in range(3)]


class TestScalars:
    def test_the_file_is_written_rarely_in_a_long_run_and_whole_at_the_end(self, tmp_path):
        writer = NPYWriter(tmp_path)
        run = RunInfo(tmp_path, "id", 0)
        writer.start(RunInfo(tmp_path, "id", 0))
        begun = time.monotonic()
        written, stamp = 0.0, None
        for epoch in range(600):
            writer.add_scalars(
                {Metric("train", "trace", f"m{i}"): epoch / 3 for i in range(100)}, epoch
            )
            before = time.monotonic()
            writer.save(epoch, run)
            seconds = time.monotonic() - before
            now = (tmp_path / "npy/scalars.npz").stat().st_ino
            written += seconds if now != stamp else 0.0
            stamp = now
            time.sleep(0.001)
        assert written < 0.1 * (time.monotonic() - begun)  # 1 % but for the machine's noise
        assert len(scalar_rows(tmp_path)) < 600
        writer.close()
        assert [row["train-trace/m7"] for row in scalar_rows(tmp_path).values()] == [
            e / 3 for e in range(600)
        ]

    def test_slow_epochs_are_each_written_at_once(self, tmp_path):
        writer = NPYWriter(tmp_path)
        writer.start(RunInfo(tmp_path, "id", 0))
        for epoch in range(3):
            with mock.patch("time.monotonic", return_value=time.monotonic() + 60 * (epoch + 1)):
                writer.add_scalar("a", 0.5, epoch)
                writer.save(epoch, RunInfo(tmp_path, "id", 0))
            assert list(scalar_rows(tmp_path)) == list(range(epoch + 1))

    def test_what_an_unfinished_epoch_staged_does_not_leak(self, tmp_path):
        writer = NPYWriter(tmp_path)
        writer.start(RunInfo(tmp_path, "id", 0))
        writer.add_scalar("stale", 1.0, 0)
        writer.add_scalar("a", 2.0, 1)
        writer.save(1, RunInfo(tmp_path, "id", 0))
        writer.close()
        assert scalar_rows(tmp_path) == {1: {"a": 2.0}}

    def test_a_full_disk_is_named_and_harms_nothing(self, tmp_path):
        writer = NPYWriter(tmp_path)
        run = RunInfo(tmp_path, "id", 0)
        writer.start(RunInfo(tmp_path, "id", 0))
        writer.add_scalar("a", 1.0, 0)
        writer.save(0, run)
        writer.close()
        writer = NPYWriter(tmp_path)
        run = RunInfo(tmp_path, "id", 0, initial_epoch=1)
        writer.resume_from_saved_state(1, run)
        writer.add_scalar("a", 2.0, 1)
        writer.save(1, run)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
        try:
            with pytest.raises(OSError, match=r"scalars\.npz"):
                writer.close()
            with pytest.raises(OSError, match="npy"):
                writer.add_array(CONV, matrix(0), 0, run)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, previous)
        assert scalar_rows(tmp_path) == {0: {"a": 1.0}}
        writer.close()
        assert scalar_rows(tmp_path) == {0: {"a": 1.0}, 1: {"a": 2.0}}
        assert [path.name for path in (tmp_path / "npy").glob("**/*") if path.is_file()] == [
            "scalars.npz"
        ]


class TestArrays:
    def test_each_array_has_a_file(self, tmp_path):
        run = Arrays(tmp_path)
        run.save(0)
        run.save(3)
        run.close()
        path = tmp_path / "npy/train-covariance-matrix/features.0/epoch00003.npy"
        stored = np.load(path, allow_pickle=False)
        assert stored.dtype == np.float64
        np.testing.assert_array_equal(stored, matrix(3))
        assert stored_epochs(tmp_path, HEAD) == [0, 3]

    @pytest.mark.parametrize("array", [np.array(2.5), np.zeros((0, 2)), matrix(1).T[::2]])
    def test_any_shape_comes_back(self, tmp_path, array):
        run = Arrays(tmp_path)
        run.save(0, {CONV: array})
        run.close()
        path = tmp_path / "npy/train-covariance-matrix/features.0/epoch00000.npy"
        np.testing.assert_array_equal(np.load(path), array)

    def test_float32_takes_half_the_space(self, tmp_path):
        run = Arrays(tmp_path, dtype="float32")
        run.save(0, {CONV: np.array([1 / 3, 1e300])})
        run.close()
        stored = np.load(tmp_path / "npy/train-covariance-matrix/features.0/epoch00000.npy")
        assert stored.dtype == np.float32
        assert stored.tolist() == [np.float32(1 / 3), math.inf]

    def test_every_stores_the_arrays_of_some_epochs_and_the_scalars_of_all(self, tmp_path):
        run = Arrays(tmp_path, every=3)
        for epoch in range(8):
            run.save(epoch)
        run.close()
        assert stored_epochs(tmp_path) == [0, 3, 6]
        assert list(scalar_rows(tmp_path)) == list(range(8))

    def test_resume_removes_the_arrays_of_later_epochs(self, tmp_path):
        run = Arrays(tmp_path)
        for epoch in range(4):
            run.save(epoch)
        run.close()
        left = tmp_path / "npy/train-covariance-matrix/features.0/.epoch00009.npy.tmp"
        left.touch()
        resumed = Arrays(tmp_path, initial_epoch=2)
        assert stored_epochs(tmp_path) == [0, 1]
        assert not left.exists()
        resumed.save(2)
        resumed.close()
        assert stored_epochs(tmp_path) == [0, 1, 2]

    def test_a_new_run_removes_only_what_is_ours(self, tmp_path):
        run = Arrays(tmp_path, zip=True)
        run.save(0)
        run.close()
        group = tmp_path / "npy/train-covariance-matrix"
        mine = [tmp_path / "npy/notes.txt", group / "a.npy", group / "features.0/epoch1.npy"]
        mine.append(tmp_path / "npy/my-arrays/features.0/epoch00000.npy")
        for path in mine:
            path.parent.mkdir(exist_ok=True, parents=True)
            path.touch()
        Arrays(tmp_path).close()
        assert sorted(path for path in tmp_path.glob("npy/**/*") if path.is_file()) == sorted(
            [*mine, tmp_path / "npy/scalars.npz"]
        )
        assert not (tmp_path / "npy.zip").exists()

    def test_links_are_not_followed(self, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        (elsewhere / "layer").mkdir(parents=True)
        precious = [elsewhere / "epoch00007.npy", elsewhere / "layer/epoch00007.npy"]
        for path in precious:
            path.touch()
        folder = tmp_path / "run"
        group = folder / "npy/train-covariance-matrix"
        group.mkdir(parents=True)
        (group / "features.0").symlink_to(elsewhere)
        (folder / "npy/train-spectrum").symlink_to(elsewhere)
        run = Arrays(folder)
        assert all(path.exists() for path in precious)
        run.save(0, [CONV])
        run.close()
        assert sorted(elsewhere.iterdir()) == [elsewhere / "epoch00007.npy", elsewhere / "layer"]

    def test_a_linked_folder_is_refused(self, tmp_path):
        (tmp_path / "npy").symlink_to(tmp_path / "elsewhere")
        writer = NPYWriter(tmp_path)
        with pytest.raises(WriterConfigurationError, match="is a link"):
            writer.start(RunInfo(tmp_path, "id", 0))
        with pytest.raises(WriterConfigurationError, match="is a link"):
            writer.resume_from_saved_state(3, RunInfo(tmp_path, "id", 0))


class TestLostArrays:
    def crash(self, tmp_path, last=3):
        """The process ends after the journal's line of the last epoch and one of two arrays."""
        run = Arrays(tmp_path)
        for epoch in range(last):
            run.save(epoch)
        row = {Metric("train", "saturation", m.layer): 0.5 for m in (CONV, HEAD)}
        run.journal.write_epoch(EpochRecord(last, 0, {}, row), ())
        ArrayFolder(tmp_path / "npy", np.dtype("float64")).write(CONV, last, matrix(last))

    def test_resume_names_them(self, tmp_path, caplog):
        self.crash(tmp_path)
        Arrays(tmp_path, initial_epoch=4).close()
        warnings = [message for message in caplog.messages if "arrays" in message]
        assert len(warnings) == 1
        assert f"epochs 3 of {ArrayFolder.place(HEAD)}" in warnings[0]
        caplog.clear()
        Arrays(tmp_path, initial_epoch=4).close()
        assert "arrays" not in caplog.text

    def test_an_epoch_that_resume_makes_void_is_not_missed(self, tmp_path, caplog):
        self.crash(tmp_path)
        Arrays(tmp_path, initial_epoch=3).close()
        assert "arrays" not in caplog.text

    def test_a_layer_without_samples_lost_nothing(self, tmp_path, caplog):
        run = Arrays(tmp_path)
        for epoch in range(4):
            seen = (CONV, HEAD) if epoch % 2 else (CONV,)
            run.save(epoch, seen, seen)
        run.close()
        Arrays(tmp_path, initial_epoch=4).close()
        assert "arrays" not in caplog.text

    def test_what_was_not_selected_is_not_missed(self, tmp_path, caplog):
        for first, options, arrays in [
            (0, {}, ()),
            (2, {}, (CONV,)),
            (4, {"every": 2}, (CONV, HEAD)),
            (7, {}, (HEAD,)),
            (9, {}, ()),
        ]:
            run = Arrays(tmp_path, initial_epoch=first, **options)
            for epoch in range(first, first + 3):
                run.save(epoch, arrays, (CONV, HEAD))
            run.close()
        assert "arrays" not in caplog.text

    def test_a_fault_in_the_run_is_named_at_the_end(self, tmp_path, caplog):
        run = Arrays(tmp_path)
        run.save(0)
        obstacle = tmp_path / "npy" / ArrayFolder.place(HEAD) / ".epoch00001.npy.tmp"
        obstacle.mkdir()
        with caplog.at_level(logging.WARNING):
            run.save(1)
            obstacle.rmdir()
            run.close()
        assert f"epochs 1 of {ArrayFolder.place(HEAD)}" in caplog.text
        assert list(scalar_rows(tmp_path)) == [0, 1]


class TestOneObjectForTwoRuns:
    def feed(self, writer, run, epochs, with_array):
        for epoch in epochs:
            if with_array(epoch):
                writer.add_array(CONV, matrix(epoch), epoch, run)
            writer.add_scalars({Metric("train", "saturation", CONV.layer): 0.5}, epoch)
            writer.save(epoch, run)

    def test_arrays_count_from_the_second_runs_first_one(self, tmp_path, caplog):
        writer = NPYWriter(tmp_path)
        for first in (0, 2):
            run = RunInfo(tmp_path, "id", 0)
            writer.start(run)
            self.feed(writer, run, range(4), lambda epoch, first=first: epoch >= first)
            writer.close()
            assert run.state["arrays_since"] == first
        assert "arrays" not in caplog.text

    def test_an_interrupted_replay_ends_with_its_run(self, tmp_path):
        writer = NPYWriter(tmp_path)
        earlier = RunInfo(tmp_path, "id", 0, initial_epoch=2, epochs=(0, 1))
        assert writer.resume_from_saved_state(2, earlier) == 0
        run = RunInfo(tmp_path, "id", 0)
        writer.start(run)
        self.feed(writer, run, range(2), lambda epoch: True)
        assert run.state["arrays_since"] == 0

    def test_a_failed_start_leaves_nothing_of_the_first_run_to_write(self, tmp_path):
        writer = NPYWriter(tmp_path)
        run = RunInfo(tmp_path, "id", 0)
        writer.start(run)
        self.feed(writer, run, range(2), lambda epoch: False)
        folder = tmp_path / "npy"
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere/scalars.npz").unlink()
        with pytest.raises(WriterConfigurationError, match="is a link"):
            writer.start(run)
        writer.close()
        assert list((tmp_path / "elsewhere").iterdir()) == []


class TestZip:
    def test_everything_is_packed_at_the_end(self, tmp_path):
        run = Arrays(tmp_path, zip=True)
        run.save(0)
        assert not (tmp_path / "npy.zip").exists()
        run.close()
        with zipfile.ZipFile(tmp_path / "npy.zip") as archive:
            assert sorted(archive.namelist()) == [
                "npy/scalars.npz",
                f"npy/{ArrayFolder.place(HEAD)}/epoch00000.npy",
                "npy/train-covariance-matrix/features.0/epoch00000.npy",
            ]
            archive.extractall(tmp_path / "unpacked")
        assert scalar_rows(tmp_path / "unpacked") == journal_rows(tmp_path)

    def test_resume_replaces_the_archive(self, tmp_path):
        train(tmp_path, "npy", range(3), writer_args={"zip": True})
        train(tmp_path, "npy", range(2, 4))
        assert not (tmp_path / "npy.zip").exists()
        train(tmp_path, "npy", [4], writer_args={"zip": True})
        with zipfile.ZipFile(tmp_path / "npy.zip") as archive:
            archive.extractall(tmp_path / "unpacked")
        assert list(scalar_rows(tmp_path / "unpacked")) == [0, 1, 2, 3, 4]

    def test_resume_keeps_an_archive_whose_folder_is_gone(self, tmp_path, caplog):
        run = Arrays(tmp_path, zip=True)
        run.save(0)
        run.close()
        for path in sorted(tmp_path.glob("npy/**/*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        packed = (tmp_path / "npy.zip").read_bytes()
        Arrays(tmp_path, initial_epoch=1, zip=True).close()
        assert (tmp_path / "npy.before-resume.zip").read_bytes() == packed
        assert "npy.before-resume.zip" in caplog.text
        assert list(scalar_rows(tmp_path)) == [0]


@pytest.mark.parametrize(
    "arguments", [{"dtype": "int8"}, {"dtype": None}, {"every": 0}, {"every": 1.5}]
)
def test_arguments_that_cannot_be_used_are_refused(tmp_path, arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        NPYWriter(tmp_path, **arguments)


def test_close_without_a_start_leaves_an_earlier_run_alone(tmp_path):
    train(tmp_path, "npy", range(2))
    NPYWriter(tmp_path).close()
    assert list(scalar_rows(tmp_path)) == [0, 1]


@pytest.mark.parametrize("first", [0, 2])
def test_arrays_lost_in_a_process_first_epoch_are_named(tmp_path, caplog, first):
    """The process ends behind the journal's line, before the writer got anything."""
    stats = {"stats": ["lsat", "cov_train"]}
    if first:
        train(tmp_path, "npy", range(first), **stats)
    code = (
        "import sys; from pathlib import Path; from delve.testing import Killer, train\n"
        "epoch = int(sys.argv[2])\n"
        "train(Path(sys.argv[1]), [Killer(epoch), 'npy'], [epoch], stats=['lsat', 'cov_train'])"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(first)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    train(tmp_path, "npy", range(first + 1, first + 2), **stats)
    (message,) = [message for message in caplog.messages if "stay lost" in message]
    assert f"epochs {first} of train-covariance-matrix" in message


def flip(path):
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)


def test_damaged_arrays_are_named_and_kept_and_no_longer_count(tmp_path, caplog):
    run = Arrays(tmp_path)
    for epoch in range(4):
        run.save(epoch)
    run.close()
    folder = tmp_path / "npy" / ArrayFolder.place(CONV)
    flip(folder / "epoch00001.npy")
    content = (folder / "epoch00001.npy").read_bytes()
    os.truncate(folder / "epoch00002.npy", 100)
    os.truncate(tmp_path / "npy" / ArrayFolder.place(HEAD) / "epoch00003.npy", 0)
    Arrays(tmp_path, initial_epoch=4).close()
    (message,) = [message for message in caplog.messages if "arrays are damaged" in message]
    assert message.startswith(f"{tmp_path / 'npy'}: 3 arrays are damaged")
    for place, epoch in ((CONV, 1), (CONV, 2), (HEAD, 3)):
        assert f"{ArrayFolder.place(place)}/epoch0000{epoch}.damaged.npy" in message
    assert (folder / "epoch00001.damaged.npy").read_bytes() == content
    assert sorted(path.name for path in folder.glob("epoch*[0-9].npy")) == [
        "epoch00000.npy",
        "epoch00003.npy",
    ]
    caplog.clear()
    Arrays(tmp_path, initial_epoch=4).close()
    assert "damaged" not in caplog.text


def test_looking_for_damage_takes_the_newest_first_and_a_bounded_time(
    tmp_path, monkeypatch, caplog
):
    run = Arrays(tmp_path)
    for epoch in range(4):
        run.save(epoch, arrays=[CONV])
    run.close()
    folder = tmp_path / "npy" / ArrayFolder.place(CONV)
    for epoch in (0, 3):
        flip(folder / f"epoch0000{epoch}.npy")
    seconds = iter([*[0.0] * 3, *[CHECK_TIME + 1] * 9])  # one for the deadline, two arrays
    clock = mock.Mock(monotonic=lambda: next(seconds))
    monkeypatch.setattr("delve_npy.arrays.time", clock)
    monkeypatch.setattr("delve_npy.writer.time", clock)
    with caplog.at_level(logging.INFO):
        Arrays(tmp_path, initial_epoch=4).close()
    assert (folder / "epoch00003.damaged.npy").exists()
    assert (folder / "epoch00000.npy").exists()
    assert "no time to look for damage in the 2 oldest arrays" in caplog.text


def test_arrays_of_another_program_are_left_alone(tmp_path, caplog):
    run = Arrays(tmp_path)
    run.save(0)
    run.close()
    np.save(tmp_path / "npy" / ArrayFolder.place(CONV) / "epoch00000.npy", matrix(0))
    Arrays(tmp_path, initial_epoch=1).close()
    assert "damaged" not in caplog.text


def test_what_may_be_another_runs_is_kept_on_a_resume(tmp_path, caplog):
    """One folder, two runs, the second by an object: the journal does not know it as ``npy``."""
    train(tmp_path, "npy", range(1), stats=["lsat", "cov"])
    train(tmp_path, NPYWriter(tmp_path), range(3), stats=["lsat", "cov"])
    arrays = sorted((tmp_path / "npy").rglob("epoch*.npy"))
    contents = [path.read_bytes() for path in arrays]
    assert len(arrays) >= 3
    train(tmp_path, "npy", [3], stats=["lsat", "cov"])
    kept = sorted((tmp_path / "npy.earlier").rglob("epoch*.npy"))
    assert [path.read_bytes() for path in kept] == contents
    assert "kept as npy.earlier" in caplog.text
    assert scalar_rows(tmp_path) == journal_rows(tmp_path)
    assert list(scalar_rows(tmp_path)) == [0, 1, 2, 3]


def test_what_a_resume_drops_from_the_table_is_durable(tmp_path, monkeypatch):
    """A power cut brought the table of before back otherwise, whose values nobody compares."""
    train(tmp_path, "npy", range(4))
    fsync, synced = os.fsync, {}

    def noting(file):
        status = os.fstat(file)
        synced[status.st_ino] = status.st_size
        fsync(file)

    monkeypatch.setattr(os, "fsync", noting)
    writer = NPYWriter(tmp_path)
    writer.resume_from_saved_state(2, RunInfo(tmp_path, "id", 0, initial_epoch=2, epochs=(0, 1)))
    status = (tmp_path / "npy/scalars.npz").stat()
    assert synced[status.st_ino] == status.st_size
    assert (tmp_path / "npy").stat().st_ino in synced
    writer.close()
