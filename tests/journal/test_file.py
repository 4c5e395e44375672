"""The journal's file under a Ctrl-C, a disk that misbehaves, and a crash while it is begun."""

import contextlib
import errno
import itertools
import json
import logging
import math
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch import nn

import delve
from delve.errors import JournalError
from delve.journal import file as journal_file
from delve.journal.contents import read_contents
from delve.journal.journal import Journal
from delve.journal.reading import JOURNAL_NAME, open_journal, read_epochs
from delve.journal.stored_run import read_run
from delve.records import EpochRecord
from delve.tracker.arguments import check_initial_epoch

JOURNAL = Path(journal_file.__file__).parent


def record(epoch, value=None):
    return EpochRecord(epoch, epoch, {"loss": float(epoch) if value is None else value}, {})


def begun(folder, epochs=(0,)):
    folder.mkdir(exist_ok=True)
    journal = Journal.create(folder, [], {})
    for epoch in epochs:
        journal.write_epoch(record(epoch), [])
    return journal


def losses(folder):
    return {one.epoch: one.scalars["loss"] for one in read_run(folder).records}


def damaged_lines(folder):
    with open_journal(folder / JOURNAL_NAME) as file:
        return read_contents(file).damaged_lines


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def always_synced(monkeypatch):
    monkeypatch.setattr(journal_file, "FSYNC_INTERVAL", 0.0)
    monkeypatch.setattr(journal_file, "FSYNC_SHARE", math.inf)


def refuse(monkeypatch, function, error):
    def refusing(*_, **__):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, function, refusing)


# Ctrl-C, after which a notebook goes on


@contextlib.contextmanager
def ctrl_c_after(steps):
    """A Ctrl-C after so many bytecodes of the journal's own; tells whether it came."""
    came = []

    def trace(frame, event, _):
        nonlocal steps
        if Path(frame.f_code.co_filename).parent != JOURNAL:
            return None
        frame.f_trace_opcodes = True
        steps -= event == "opcode"
        if steps == 0 and not came:
            came.append(True)
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield came
    finally:
        sys.settrace(before)


def go_on_after_ctrl_c(folder, steps):
    """Whether the Ctrl-C came at all."""
    journal = begun(folder)
    with ctrl_c_after(steps) as came:
        journal.write_epoch(record(1), [])
    journal.write_epoch(record(2), [])
    journal.write_epoch(record(3), [])
    held = journal.epochs
    assert {0, 2, 3} <= set(held)
    assert [journal.read(epoch).scalars["loss"] for epoch in held] == held
    journal.close()
    found = losses(folder)
    assert {0, 2, 3} <= found.keys()
    assert all(epoch == loss for epoch, loss in found.items())
    assert damaged_lines(folder) == []
    return bool(came)


def test_a_ctrl_c_at_any_moment_leaves_every_other_epoch_as_it_was(
    tmp_path, monkeypatch, always_synced
):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # which takes its time, hundreds of times
    steps = next(n for n in itertools.count(1) if not go_on_after_ctrl_c(tmp_path / str(n), n))
    assert steps > 100


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_ctrl_c_while_a_line_is_written_leaves_one_whole_line_of_it(tmp_path, monkeypatch, share):
    journal = begun(tmp_path)
    write = os.write

    def interrupted(file, data):
        write(file, data[: int(share * len(data))])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.write_epoch(record(1), [])
    for epoch in (2, 3):
        journal.write_epoch(record(epoch), [])
        assert journal.read(epoch) == record(epoch)
    journal.close()
    assert losses(tmp_path) == {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0}
    lines = (tmp_path / JOURNAL_NAME).read_text().splitlines()
    assert [json.loads(line).get("epoch") for line in lines] == [None, 0, 1, 2, 3]


def test_after_a_ctrl_c_in_fsync_a_full_disk_still_costs_nothing(
    tmp_path, monkeypatch, always_synced
):
    journal = begun(tmp_path)
    fsync = os.fsync

    def interrupted(file):
        fsync(file)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.write_epoch(record(1), [])
    journal.write_epoch(record(1, 1.5), [])  # the user's loop tries the epoch again
    with monkeypatch.context() as patch:
        refuse(patch, "write", errno.ENOSPC)
        journal.write_epoch(record(2), [])
    journal.write_epoch(record(3), [])
    assert journal.read(2) == record(2)
    journal.close()
    assert losses(tmp_path) == {0: 0.0, 1: 1.5, 2: 2.0, 3: 3.0}
    assert damaged_lines(tmp_path) == []


# Disks


def test_a_disk_without_fsync_is_named_once_and_loses_nothing(
    tmp_path, monkeypatch, caplog, always_synced
):
    refuse(monkeypatch, "fsync", errno.EINVAL)
    begun(tmp_path, range(3)).close()
    assert caplog.text.count("does not confirm") == 1
    assert "kept in memory" not in caplog.text
    assert not [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert losses(tmp_path) == {0: 0.0, 1: 1.0, 2: 2.0}


def test_an_fsync_that_fails_at_the_end_neither_raises_nor_leaks(tmp_path, monkeypatch, caplog):
    journal = begun(tmp_path)
    descriptors = open_descriptors()
    refuse(monkeypatch, "fsync", errno.EIO)
    journal.close()
    assert open_descriptors() == descriptors - 1
    assert not [entry for entry in caplog.records if entry.levelno >= logging.ERROR]


def test_a_ctrl_c_at_the_end_leaks_no_descriptor(tmp_path, monkeypatch):
    journal = begun(tmp_path)
    descriptors = open_descriptors()

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        journal.close()
    journal.close()
    assert open_descriptors() == descriptors - 1


def test_a_folder_that_is_deleted_under_the_run_is_named_once(tmp_path, caplog, always_synced):
    journal = begun(tmp_path / "run")
    assert "deleted" not in caplog.text
    shutil.rmtree(tmp_path / "run")
    for epoch in (1, 2):
        journal.write_epoch(record(epoch), [])
        assert caplog.text.count("was deleted, so nothing that is recorded from now on") == 1
    assert journal.read(1) == record(1)
    journal.close()
    assert caplog.text.count("was deleted") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_deleted_in_the_last_second_is_named_at_the_end(tmp_path, caplog):
    journal = begun(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    journal.close()
    assert caplog.text.count("was deleted") == 1


# How a journal begins

CRASH_IN_CREATE = """
import io, os, shutil, sys
from pathlib import Path
from delve.journal.journal import Journal

folder, template, links = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if not links:
    os.link = lambda *_, **__: os.unlink("")  # an OSError
steps, died = 0, True
while died:
    run = folder / str(steps)
    shutil.copytree(template, run)
    child = os.fork()
    if child == 0:
        left = steps

        def step(_, event, function):
            global left
            if event.startswith("c_") and (
                function.__module__ == "posix" or isinstance(function.__self__, io.IOBase)
            ):
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.setprofile(step)
        Journal.create(run, [], {})
        os._exit(0)
    died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    steps += 1
"""


@pytest.mark.parametrize("links", ["links", ""], ids=["", "without links"])
@pytest.mark.parametrize("earlier", [None, range(3)], ids=["in a new folder", "after another run"])
def test_a_crash_while_a_journal_begins_leaves_a_run_to_go_on_with(tmp_path, earlier, links):
    template = tmp_path / "template"
    template.mkdir()
    (template / ".lock").touch()
    if earlier is not None:
        begun(template, earlier).close()
        (template / "metrics.csv").touch()
    crashes = tmp_path / "crashes"
    crashes.mkdir()
    call = [sys.executable, "-c", CRASH_IN_CREATE, str(crashes), str(template), links]
    environment = os.environ | {"PYTHONPATH": str(Path(delve.__file__).parents[1])}
    subprocess.run(call, check=True, env=environment)
    folders = sorted(crashes.iterdir(), key=lambda folder: int(folder.name))
    assert len(folders) > 20
    firsts = [check_initial_epoch("auto", folder) for folder in folders]
    assert sorted(firsts, reverse=True) == firsts
    assert set(firsts) == ({0} if earlier is None else {3, 0})
    for folder in folders:
        begun(folder, [0]).close()
        kept = [read_lines(path) for path in folder.glob("journal.*.jsonl")]
        assert kept.count(read_lines(template / JOURNAL_NAME)) == (earlier is not None)
        assert read_epochs(folder) == [0]


def read_lines(path):
    return path.read_bytes().splitlines() if path.exists() else None


def test_where_files_cannot_be_linked_the_earlier_journal_is_kept_too(tmp_path, monkeypatch):
    first = begun(tmp_path).run_id
    refuse(monkeypatch, "link", errno.EPERM)
    second = begun(tmp_path, [0, 1]).run_id
    assert json.loads(read_lines(tmp_path / "journal.1.jsonl")[0])["run_id"] == first
    assert read_run(tmp_path).run_id == second


def test_an_empty_journal_is_not_worth_keeping(tmp_path):
    (tmp_path / JOURNAL_NAME).touch()
    begun(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL_NAME]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_a_new_run_puts_what_is_no_file_aside(tmp_path, make):
    make(tmp_path / JOURNAL_NAME)
    begun(tmp_path).close()
    assert read_epochs(tmp_path) == [0]
    assert os.path.lexists(tmp_path / "journal.1.jsonl")
    assert not (tmp_path / "elsewhere").exists()


def test_a_new_journal_is_durable_with_its_name(tmp_path, monkeypatch):
    fsync, synced = os.fsync, []

    def noting(file):
        is_folder = stat.S_ISDIR(os.fstat(file).st_mode)
        synced.append((is_folder, (tmp_path / JOURNAL_NAME).exists()))
        fsync(file)

    monkeypatch.setattr(os, "fsync", noting)
    Journal.create(tmp_path, [], {})
    assert synced == [(False, False), (True, True)]  # its lines, and then its name


class Confirmed:
    """The bytes of the journal that the disk has been asked to keep."""

    def __init__(self, monkeypatch):
        self.size = 0
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._note)

    def _note(self, file):
        status = os.fstat(file)
        if not stat.S_ISDIR(status.st_mode):
            self.size = status.st_size
        self._fsync(file)


def test_what_a_resume_makes_void_is_durable_before_backends_are_told(tmp_path, monkeypatch):
    """Also in a folder that was moved, whose journal gets a line about that before."""
    begun(tmp_path / "a").close()
    (tmp_path / "a").rename(tmp_path / "b")
    confirmed = Confirmed(monkeypatch)
    journal = Journal.resume(tmp_path / "b", 1)
    content = journal.path.read_bytes()
    *_, home, resume = content.splitlines()
    assert home.startswith(b'{"type": "home"')
    assert resume.startswith(b'{"type": "resume"')
    assert confirmed.size == len(content)
    journal.close()


def test_what_writers_remember_when_they_open_is_durable_before_the_first_epoch(
    tmp_path, monkeypatch
):
    class Remembering:
        def start(self, run):
            run.remember(remote="run 1")

    confirmed = Confirmed(monkeypatch)
    layers = {"fc": nn.Linear(3, 2)}
    with delve.SaturationTracker(tmp_path, [Remembering(), Remembering()], layers) as tracker:
        content = (tracker.savefile / JOURNAL_NAME).read_bytes()
        assert content.count(b"run 1") >= 2
        assert confirmed.size == len(content)


def test_a_journal_that_cannot_be_begun_says_what_to_do(tmp_path, monkeypatch):
    refuse(monkeypatch, "replace", errno.EACCES)
    with pytest.raises(JournalError, match=r"cannot be begun .*Permission denied.*savefile"):
        Journal.create(tmp_path, [], {})
    assert not any(tmp_path.iterdir())


def test_a_disk_that_stays_full_costs_each_epoch_the_same(tmp_path, monkeypatch):
    journal = begun(tmp_path)
    tried = []

    def write(file, data):
        tried.append(len(data))
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        for epoch in range(1, 2000):
            journal.write_epoch(record(epoch), [])
    assert max(tried) < 100_000
    journal.close()
    assert losses(tmp_path) == {epoch: float(epoch) for epoch in range(2000)}


def test_a_slow_disk_is_asked_to_confirm_as_rarely_as_leaves_the_run_its_time(
    tmp_path, monkeypatch
):
    journal = begun(tmp_path)
    synced = []

    def fsync(file):
        synced.append(file)
        time.sleep(0.2)

    monkeypatch.setattr(os, "fsync", fsync)
    begin = time.monotonic()
    journal._file._pace._next = 0.0  # the one of the beginning was quick
    for epoch in range(1, 200):
        journal.write_epoch(record(epoch), [])
        time.sleep(0.01)
    assert len(synced) <= 1 + (time.monotonic() - begin) / 4
    journal.close()
