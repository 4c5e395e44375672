"""Files that a crash has damaged, and disks that refuse."""

import contextlib
import os
import resource
import shutil
import signal

import pytest
from delve_tensorboard import TensorBoardWriter, records
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard_runs import read_points
from torch import nn

from delve import Metric, RunInfo, SaturationTracker
from delve.errors import BackendLostError, WriterConfigurationError
from delve.testing import fast_retries, journal_rows, train


def run_info(folder, initial_epoch=0, **told):
    return RunInfo(folder, "0123456789", 0, initial_epoch=initial_epoch, **told)


def save(writer, run, epoch):
    writer.add_scalar("loss", epoch / 4)
    writer.add_scalars({Metric("train", "saturation", "a"): epoch / 8})
    writer.add_scalars({Metric("eval", "saturation", "a"): epoch / 16})
    writer.save(epoch, 1000 * epoch, run)


def recorded(folder, epochs):
    """The run as it was told, with this many epochs in the files."""
    writer, run = TensorBoardWriter(folder), run_info(folder, layers=("a",))
    writer.start(run)
    for epoch in range(epochs):
        save(writer, run, epoch)
    writer.close(None, run)
    return run


def resumed(folder, run, initial_epoch):
    writer = TensorBoardWriter(folder)
    told = run_info(folder, initial_epoch, epochs=tuple(range(initial_epoch)), state=run.state)
    return writer, told, writer.resume_from_saved_state(initial_epoch, told)


def held_epochs(folder):
    epochs = {}
    for epoch, name, _ in read_points(folder):
        epochs.setdefault(name, []).append(epoch)
    return epochs


def only_file(folder, mode):
    (path,) = (folder / "tensorboard" / mode).glob("*tfevents*")
    return path


def place_of(path, epoch):
    """Where the record of an epoch begins and ends in its file."""
    for held in records.read(path):
        event = Event.FromString(held.payload)
        if event.HasField("summary") and event.step == epoch:
            return held.start, held.end
    raise AssertionError(f"{path} has no epoch {epoch}")


EVERYTHING = {
    name: [0, 1, 2, 3, 4, 5] for name in ("loss", "train-saturation/a", "eval-saturation/a")
}


@pytest.mark.parametrize("mode", ["", "train", "eval"])
@pytest.mark.parametrize("damage", ["torn", "flipped", "zeros", "gone"])
def test_what_a_damaged_file_lacks_is_asked_for_and_the_rest_stays(tmp_path, mode, damage, caplog):
    run = recorded(tmp_path, 5)
    path = only_file(tmp_path, mode)
    start, end = place_of(path, 2)
    data = bytearray(path.read_bytes())
    if damage == "torn":
        data = data[: end - 3]
    elif damage == "flipped":
        data[(start + end) // 2] ^= 0x40
    elif damage == "zeros":  # what a power failure can leave
        data[start:] = bytes(len(data) - start)
    path.write_bytes(data)
    if damage == "gone":
        path.unlink()
    writer, told, lacking = resumed(tmp_path, run, 5)
    assert lacking == (0 if damage == "gone" else 2)
    assert (str(path) in caplog.text) == (damage != "gone")
    below = list(range(lacking))
    assert {name: epochs for name, epochs in held_epochs(tmp_path).items() if epochs} == (
        dict.fromkeys(EVERYTHING, below) if below else {}
    )
    for epoch in range(lacking, 6):
        save(writer, told, epoch)
    writer.close(None, told)
    assert held_epochs(tmp_path) == EVERYTHING


def test_an_epoch_that_only_some_of_the_runs_have_is_asked_for(tmp_path):
    run = recorded(tmp_path, 5)
    path = only_file(tmp_path, "eval")
    path.write_bytes(path.read_bytes()[: place_of(path, 4)[0]])
    assert resumed(tmp_path, run, 5)[2] == 4
    assert held_epochs(tmp_path) == {name: [0, 1, 2, 3] for name in EVERYTHING}


@pytest.mark.parametrize("known", [{}, {"begins": {"train": 0}}])
def test_where_the_journal_lost_where_a_run_begins_all_is_asked_for(tmp_path, known):
    """A power cut took the line of the journal, and the end of a file."""
    run = recorded(tmp_path, 5)
    path = only_file(tmp_path, "eval")
    path.write_bytes(path.read_bytes()[: place_of(path, 2)[0]])
    state = {name: value for name, value in run.state.items() if name != "begins"} | known
    names = ("loss", "train-saturation/a", "eval-saturation/a")
    told = run_info(tmp_path, 5, epochs=range(5), metrics=names, state=state)
    writer = TensorBoardWriter(tmp_path)
    lacking = writer.resume_from_saved_state(5, told)
    for epoch in range(lacking, 6):
        save(writer, told, epoch)
    writer.close(None, told)
    assert held_epochs(tmp_path) == EVERYTHING


@pytest.mark.parametrize("mode", ["", "train", "eval"])
def test_a_file_that_a_power_cut_brought_back_does_not_count(tmp_path, mode):
    """It was removed, or cut, before the one was begun that has TensorBoard drop its epochs."""
    run = recorded(tmp_path, 5)
    path = only_file(tmp_path, mode)
    content = path.read_bytes()
    writer, told, lacking = resumed(tmp_path, run, 2)
    assert lacking == 2
    for epoch in (2, 3):
        save(writer, told, epoch)
    path.write_bytes(content)  # epochs 2 to 4 are back
    writer, told, lacking = resumed(tmp_path, told, 5)
    assert lacking == 4
    for epoch in range(lacking, 6):
        save(writer, told, epoch)
    writer.close(None, told)
    assert held_epochs(tmp_path) == EVERYTHING


def test_what_a_resume_drops_is_durable(tmp_path, monkeypatch):
    """A power cut brought it back otherwise, and took what was recorded in its place."""
    run = recorded(tmp_path, 5)
    fsync, synced = os.fsync, {}

    def noting(file):
        status = os.fstat(file)
        synced[status.st_ino] = status.st_size
        fsync(file)

    before = [only_file(tmp_path, mode) for mode in ("", "train", "eval")]
    monkeypatch.setattr(os, "fsync", noting)
    resumed(tmp_path, run, 2)
    for path in before:
        assert synced[path.stat().st_ino] == path.stat().st_size
        assert path.parent.stat().st_ino in synced


def test_epochs_that_the_journal_lost_are_kept_behind_the_damage(tmp_path):
    run = recorded(tmp_path, 5)
    path = only_file(tmp_path, "eval")
    path.write_bytes(path.read_bytes()[: place_of(path, 2)[0]])
    told = run_info(tmp_path, 5, epochs=(0, 1, 2, 4), state=run.state)
    writer = TensorBoardWriter(tmp_path)
    assert writer.resume_from_saved_state(5, told) == 2
    for epoch in (2, 4, 5):
        save(writer, told, epoch)
    writer.close(None, told)
    assert held_epochs(tmp_path) == {**EVERYTHING, "eval-saturation/a": [0, 1, 2, 4, 5]}


BEGINNINGS = {
    "zeros": lambda content: bytes(512) + content[512:],
    "a block is missing": lambda content: content[header_of(content) + 60 :],
    "the header is missing": lambda content: content[header_of(content) :],
    "a part of the header": lambda content: content[7:],
    "nothing but zeros": lambda content: bytes(len(content)),
}


def header_of(content):
    """How long the first record is."""
    return int.from_bytes(content[:8], "little") + 16


@pytest.mark.parametrize("mode", ["", "train", "eval"])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_file_that_lost_its_beginning_is_set_aside_and_rebuilt(tmp_path, mode, beginning, caplog):
    """What the journal lacks, and an earlier file holds, stays."""
    run = recorded(tmp_path, 3)
    writer, told, _ = resumed(tmp_path, run, 3)
    for epoch in (3, 4):
        save(writer, told, epoch)
    writer.close(None, told)
    path = sorted((tmp_path / "tensorboard" / mode).glob("*tfevents*"))[-1]
    damaged = BEGINNINGS[beginning](path.read_bytes())
    path.write_bytes(damaged)
    told = run_info(tmp_path, 5, epochs=(0, 2, 3, 4), state=told.state)
    writer = TensorBoardWriter(tmp_path)
    lacking = writer.resume_from_saved_state(5, told)
    assert lacking == 3
    for epoch in range(lacking, 6):
        save(writer, told, epoch)
    writer.close(None, told)
    assert held_epochs(tmp_path) == EVERYTHING
    (aside,) = path.parent.glob("*set-aside*")
    assert aside.read_bytes() == damaged
    assert f"{path} " in caplog.text
    assert "has lost its beginning" in caplog.text


@pytest.mark.parametrize("known", [{}, {"begins": {"eval": 0}}, {"begins": "never"}])
def test_an_epoch_that_only_tensorboard_holds_stays_where_begins_are_lost(tmp_path, known):
    """Lines of the journal are gone: that of an epoch, and that which says where runs begin."""
    run = recorded(tmp_path, 5)
    state = {name: value for name, value in run.state.items() if name != "begins"} | known
    names = ("loss", "train-saturation/a", "eval-saturation/a")
    told = run_info(tmp_path, 5, epochs=(0, 2, 3, 4), metrics=names, state=state)
    writer = TensorBoardWriter(tmp_path)
    assert writer.resume_from_saved_state(5, told) == 0
    for epoch in (0, 2, 3, 4, 5):
        save(writer, told, epoch)
    writer.close(None, told)
    assert held_epochs(tmp_path) == EVERYTHING


def test_a_tracker_restores_a_damaged_file_from_the_journal(tmp_path):
    train(tmp_path, "tensorboard", range(5))
    path = only_file(tmp_path, "train")
    path.write_bytes(path.read_bytes()[: place_of(path, 1)[1] + 5])
    train(tmp_path, "tensorboard", range(5, 6))
    rows = journal_rows(tmp_path)
    assert len(rows) == 6
    points = {(epoch, name): value for epoch, name, value in read_points(tmp_path)}
    assert points == {
        (epoch, name): pytest.approx(value, rel=1e-6)
        for epoch, row in rows.items()
        for name, value in row.items()
    }


def test_tensorboard_never_reads_a_file_that_is_being_rewritten(tmp_path, monkeypatch):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path, layers=("a",))
    writer.start(run)
    for epoch in range(3):
        save(writer, run, epoch)
    seen, read = set(), records.read

    def watched(path):
        for held in read(path):
            seen.update(other.name for other in path.parent.iterdir() if other.is_file())
            yield held

    monkeypatch.setattr(records, "read", watched)
    save(writer, run, 1)
    assert {name for name in seen if "tfevents" in name} == {
        only_file(tmp_path, mode).name for mode in ("", "train", "eval")
    }
    assert [name for name in seen if "tfevents" not in name]
    assert held_epochs(tmp_path) == {name: [0, 1, 2] for name in EVERYTHING}


@contextlib.contextmanager
def files_limited_to(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_whole_records(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path, layers=("a",))
    writer.start(run)
    save(writer, run, 0)
    path = only_file(tmp_path, "eval")
    size = path.stat().st_size
    for room in (3, 0):
        with (
            files_limited_to(size + room),
            pytest.raises(OSError, match="tfevents") as raised,
        ):
            save(writer, run, 1)
        assert raised.value.filename
    save(writer, run, 1)
    save(writer, run, 2)
    writer.close(None, run)
    assert held_epochs(tmp_path) == {name: [0, 1, 2] for name in EVERYTHING}


def test_a_disk_that_is_full_from_the_start_gets_no_empty_files(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path, layers=("a",))
    with files_limited_to(10), pytest.raises(OSError, match="tfevents"):
        writer.start(run)
    assert list((tmp_path / "tensorboard").rglob("*tfevents*")) == []
    writer.start(run)
    save(writer, run, 0)
    assert held_epochs(tmp_path) == {name: [0] for name in EVERYTHING}


def test_an_epoch_that_failed_leaves_nothing_once_the_run_is_closed(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path, layers=("a",))
    writer.start(run)
    save(writer, run, 0)
    size = only_file(tmp_path, "train").stat().st_size
    only_file(tmp_path, "eval").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="eval"):
        save(writer, run, 1)
    assert only_file(tmp_path, "train").stat().st_size > size
    with pytest.raises(FileNotFoundError, match="eval"):
        writer.close(None, run)
    assert only_file(tmp_path, "train").stat().st_size == size
    writer.close(None, run)


def test_what_was_staged_for_a_failed_epoch_does_not_get_into_the_next(tmp_path):
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path)
    writer.start(run)
    only_file(tmp_path, "").unlink()
    writer.add_scalar("failed", 1.0)
    with pytest.raises(FileNotFoundError):
        writer.save(0, 0, run)
    writer.start(run)
    writer.add_scalar("loss", 1.0)
    writer.save(1, 0, run)
    assert held_epochs(tmp_path) == {"loss": [1]}


@fast_retries()
def test_a_full_disk_does_not_end_the_run_and_nothing_is_lost(tmp_path, caplog):
    with SaturationTracker(tmp_path, "tensorboard", nn.Linear(2, 2)) as tracker:
        for epoch in range(5):
            tracker.add_scalar("loss", epoch)
            limit = only_file(tmp_path, "").stat().st_size + 3 if epoch in (2, 3) else 1 << 30
            with files_limited_to(limit):
                tracker.save()
    assert caplog.text.count("writer 'tensorboard' failed at epoch 2") == 1
    assert held_epochs(tmp_path) == {"loss": [0, 1, 2, 3, 4]}


MANY = 400


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """One that TensorBoard has never seen."""
    folder = tmp_path_factory.mktemp("long") / "run"
    with SaturationTracker(folder, "csv", nn.Linear(2, 2)) as tracker:
        for epoch in range(MANY):
            tracker.add_scalar("loss", epoch)
            tracker.save()
    return folder


@pytest.fixture
def begun(long_run, tmp_path):
    return shutil.copytree(long_run, tmp_path / "run")


def test_a_disk_that_is_full_while_epochs_come_again_costs_none(begun, caplog, monkeypatch):
    """They are written together: all that was given since the last one written comes again."""
    monkeypatch.setattr("delve_tensorboard.folder._MOST_WAITING", 3000)
    monkeypatch.setattr("delve.delivery.attempts.FIRST_WAIT", 0.0)
    monkeypatch.setattr("delve.delivery.attempts.WAIT_RATIO", 0.0)
    with files_limited_to(8000):
        tracker = SaturationTracker(begun, "tensorboard", nn.Linear(2, 2), initial_epoch=MANY)
    held = held_epochs(begun)["loss"]
    assert 0 < len(held) < MANY
    assert held == list(range(len(held)))
    for epoch in range(MANY, MANY + 3):
        tracker.add_scalar("loss", epoch)
        tracker.save()
    tracker.close()
    assert "File too large" in caplog.text
    assert "did not get" not in caplog.text
    assert held_epochs(begun) == {"loss": list(range(MANY + 3))}


def test_what_a_full_disk_never_took_is_named(begun, caplog, monkeypatch):
    monkeypatch.setattr("delve_tensorboard.folder._MOST_WAITING", 3000)
    with files_limited_to(8000):
        SaturationTracker(begun, "tensorboard", nn.Linear(2, 2), initial_epoch=MANY).close()
    held = held_epochs(begun)["loss"]
    assert held == list(range(len(held)))
    assert f"did not get epochs {len(held)}-{MANY - 1}" in caplog.text


def test_what_waits_at_the_end_is_written_or_named(tmp_path):
    told = run_info(tmp_path, 9, epochs=range(9), layers=("a",))
    writer = TensorBoardWriter(tmp_path)
    assert writer.resume_from_saved_state(9, told) == 0
    for epoch in range(5):
        save(writer, told, epoch)
    assert held_epochs(tmp_path).get("loss", []) == []
    size = only_file(tmp_path, "").stat().st_size
    for _ in range(2):
        with files_limited_to(size + 3), pytest.raises(BackendLostError) as raised:
            writer.close(None, told)
        assert raised.value.first == 0
    writer.close(None, told)
    assert held_epochs(tmp_path) == {name: [0, 1, 2, 3, 4] for name in EVERYTHING}


def test_a_run_that_is_killed_while_epochs_come_again_gets_them_at_the_next(begun):
    killed = os.fork()
    if not killed:
        run = run_info(begun, MANY, epochs=range(MANY))
        writer = TensorBoardWriter(begun)
        for epoch in range(writer.resume_from_saved_state(MANY, run), MANY - 1):
            writer.add_scalar("loss", epoch)
            writer.save(epoch, 1000 * epoch, run)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(killed, 0)
    assert held_epochs(begun).get("loss", []) == []
    SaturationTracker(begun, "tensorboard", nn.Linear(2, 2), initial_epoch=MANY).close()
    assert held_epochs(begun) == {"loss": list(range(MANY))}


@pytest.mark.parametrize("name", ["tensorboard", "tensorboard/train"])
def test_a_file_in_the_place_of_a_folder_is_refused_by_name_and_start_can_be_repeated(
    tmp_path, name
):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("in the way")
    writer, run = TensorBoardWriter(tmp_path), run_info(tmp_path, layers=("a",))
    with pytest.raises(WriterConfigurationError, match=f"{name} is no folder"):
        writer.start(run)
    assert (tmp_path / name).read_text() == "in the way"
    writer.close(None, run)
    (tmp_path / name).unlink()
    writer.start(run)
    save(writer, run, 0)
    assert held_epochs(tmp_path) == {name: [0] for name in EVERYTHING}
