import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys

import pytest
from torch import nn

from delve import SaturationTracker
from delve.errors import RunFolderInUseError
from delve.journal.lock import FolderLock

HOLD = (
    "import sys; from pathlib import Path; from delve.journal.lock import FolderLock;"
    "lock = FolderLock(Path(sys.argv[1])); print('held', flush=True);"
)


def answer_of_another_process(folder):
    call = [sys.executable, "-c", HOLD, str(folder)]
    child = subprocess.run(call, capture_output=True, text=True, check=False)
    return child.stdout.strip() or child.stderr.strip().splitlines()[-1]


def refuse(monkeypatch, error, *functions):
    def refusing(*_):
        raise OSError(error, os.strerror(error))

    for function in functions:
        monkeypatch.setattr(fcntl, function, refusing)


def test_a_second_lock_is_refused_here_and_elsewhere_until_the_first_is_released(tmp_path):
    lock = FolderLock(tmp_path)
    with pytest.raises(RunFolderInUseError, match="this process"):
        FolderLock(tmp_path)
    assert "in use by a tracker of another process" in answer_of_another_process(tmp_path)
    lock.release()
    lock.release()
    assert answer_of_another_process(tmp_path) == "held"
    FolderLock(tmp_path).release()


@pytest.mark.parametrize("spelling", ["relative", "dots", "a link", "a link to the parent", "~"])
def test_one_folder_by_two_spellings_is_one(tmp_path, monkeypatch, spelling):
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "parent").symlink_to(folder.parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    other = {
        "relative": "runs/a",
        "dots": f"{folder}/../../runs/./a/",
        "a link": tmp_path / "link",
        "a link to the parent": "parent/a",
        "~": "~/runs/a",
    }[spelling]
    options = {"save_to": "print", "modules": nn.Linear(2, 2)}
    with SaturationTracker(folder, **options) as tracker:
        with pytest.raises(RunFolderInUseError, match="this process"):
            SaturationTracker(other, initial_epoch="auto", **options)
        tracker.save()
    with SaturationTracker(other, initial_epoch="auto", **options) as tracker:
        assert tracker.epoch == 1


def test_a_copy_of_the_folder_by_the_training_itself_does_not_open_it(tmp_path):
    lock = FolderLock(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert "in use by a tracker of another process" in answer_of_another_process(tmp_path / "run")
    with pytest.raises(RunFolderInUseError, match="this process"):
        FolderLock(tmp_path / "run")
    lock.release()


def test_a_forked_child_that_outlives_the_process_does_not_keep_the_folder(tmp_path):
    # The child says who it is, so that it is through with what it does first.
    fork = "import os, time; os.fork() or (print(os.getpid(), flush=True), time.sleep(60));"
    call = [sys.executable, "-c", f"{HOLD} {fork} time.sleep(60)", str(tmp_path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(RunFolderInUseError, match="another process"):
                FolderLock(tmp_path)  # the child has let go of nothing but its own
            holder.kill()
            holder.wait()
            FolderLock(tmp_path).release()
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_recorded_into_with_a_warning(
    tmp_path, monkeypatch, caplog, error
):
    refuse(monkeypatch, error, "fcntl", "lockf")
    lock = FolderLock(tmp_path)
    assert caplog.text.count("is not locked") == 1
    assert os.strerror(error) in caplog.text
    with pytest.raises(RunFolderInUseError, match="this process"):
        FolderLock(tmp_path)
    lock.release()


@pytest.mark.parametrize("error", [errno.EACCES, errno.EAGAIN])
def test_a_lock_that_is_taken_is_an_error_whatever_the_system_calls_it(
    tmp_path, monkeypatch, error
):
    refuse(monkeypatch, error, "fcntl", "lockf")
    with pytest.raises(RunFolderInUseError, match="another process"):
        FolderLock(tmp_path)


def test_a_kernel_that_locks_no_open_files_locks_them_for_the_process(tmp_path, monkeypatch):
    refuse(monkeypatch, errno.EINVAL, "fcntl")
    lock = FolderLock(tmp_path)
    assert "in use by a tracker of another process" in answer_of_another_process(tmp_path)
    lock.release()
