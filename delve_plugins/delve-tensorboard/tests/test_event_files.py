"""Whose event files they are, what cannot be read, and a folder that somebody else made."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from delve_tensorboard import TensorBoardWriter, event_files, framing
from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard_runs import accumulator, read_points, serving
from torch.utils.tensorboard import SummaryWriter

from delve import Metric, RunInfo
from delve.base import entry_points as plugins
from delve.delivery.discovery import GROUP
from delve.records import Origin
from delve.testing import journal_rows, train

STAMP = 1_000_000_000


def own_name(number=0):
    return f"events.out.tfevents.{STAMP + number}.host.1.delve"


def assert_same_as_journal(points, folder):
    assert {(epoch, name): value for epoch, name, value in points} == {
        (epoch, name): pytest.approx(value, rel=1e-6)
        for epoch, row in journal_rows(folder).items()
        for name, value in row.items()
    }
    assert len(points) == sum(map(len, journal_rows(folder).values()))


def mine(folder):
    held = accumulator(folder / "tensorboard")
    return (
        [event.step for event in held.Scalars("mine")] if "mine" in held.Tags()["scalars"] else []
    )


def points_of_delve(folder):
    return [point for point in read_points(folder) if point[1] != "mine"]


def users_writer(folder, **options):
    writer = SummaryWriter(folder / "tensorboard", **options)
    for step in range(0, 1000, 100):
        writer.add_scalar("mine", step / 7, step)
    return writer


STEPS = list(range(0, 1000, 100))


class TestForeign:
    def test_a_writer_of_the_users_with_our_suffix_keeps_its_files(self, tmp_path):
        for mode in ("", "train"):
            (tmp_path / "tensorboard" / mode).mkdir(parents=True, exist_ok=True)
        users_writer(tmp_path, filename_suffix=".delve").close()
        other = EventFileWriter(str(tmp_path / "tensorboard/train"), filename_suffix=".delve")
        other.add_event(Event(step=7, source_metadata=SourceMetadata(writer="elsewhere")))
        other.close()
        files = list((tmp_path / "tensorboard").rglob("*.delve"))
        before = {path: path.read_bytes() for path in files}
        train(tmp_path, "tensorboard", range(5))
        train(tmp_path, "tensorboard", range(2, 4))
        assert len(before) == 2
        assert {path: path.read_bytes() for path in files} == before
        assert_same_as_journal(points_of_delve(tmp_path), tmp_path)
        assert mine(tmp_path) == STEPS

    @pytest.mark.parametrize("closed", [True, False], ids=["closed", "not yet flushed"])
    def test_tensorboard_is_not_told_to_drop_what_a_writer_of_the_users_wrote(
        self, tmp_path, closed
    ):
        writer = users_writer(tmp_path)
        if closed:
            writer.close()
        train(tmp_path, "tensorboard", range(3))
        train(tmp_path, "tensorboard", range(2, 4))
        writer.close()
        assert mine(tmp_path) == STEPS
        assert_same_as_journal(points_of_delve(tmp_path), tmp_path)

    def test_nor_what_it_begins_in_the_same_second(self, tmp_path, monkeypatch):
        monkeypatch.setattr("time.time", lambda: STAMP + 0.5)
        writer = TensorBoardWriter(tmp_path)
        run = RunInfo(tmp_path, "id", 0)
        writer.start(run)
        users_writer(tmp_path).close()
        writer.add_scalar("loss", 1.0)
        writer.save(0, 0, run)
        writer.close(None, run)
        names = sorted(path.name for path in (tmp_path / "tensorboard").glob("*tfevents*"))
        assert len(names) == 2
        assert {name.split(".")[3] for name in names} == {str(STAMP)}
        assert mine(tmp_path) == STEPS

    @pytest.mark.parametrize("load_fast", [False, True])
    def test_both_servers_show_both(self, tmp_path, load_fast):
        folder = tmp_path / "runs/a"
        users_writer(folder).close()
        train(folder, "tensorboard", range(3))
        train(folder, "tensorboard", range(2, 4))
        expected = sum(map(len, journal_rows(folder).values())) + len(STEPS)
        with serving(tmp_path / "runs", load_fast) as server:
            server.wait_for(lambda: len(server.points("a")) >= expected)
            points = server.points("a")
        assert sorted(step for step, name, _ in points if name == "mine") == STEPS
        assert_same_as_journal([point for point in points if point[1] != "mine"], folder)

    def test_hyperparameters_and_files_of_any_other_kind_stay(self, tmp_path):
        writer = users_writer(tmp_path)
        writer.add_hparams({"lr": 1}, {"score": 2})
        writer.close()
        (tmp_path / "tensorboard/train").mkdir()
        (tmp_path / "tensorboard/train/notes.txt").write_text("mine")
        (tmp_path / "tensorboard/rewritten.partial").write_text("mine")
        before = {p: p.read_bytes() for p in (tmp_path / "tensorboard").rglob("*") if p.is_file()}
        train(tmp_path, "tensorboard", range(5), config={"lr": 2})
        train(tmp_path, "tensorboard", range(1, 2), config={"lr": 2})
        assert len(before) == 4
        assert {path: path.read_bytes() for path in before} == before


def garbage(path):
    path.write_bytes(b"neither a record nor anything else" * 50)


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def no_event(path):
    path.write_bytes(framing.frame(b"\xff\xff\xff\xff"))


def claims_gigabytes(path):
    path.write_bytes(claiming(2**40))


def sparse(path):
    with path.open("r+b") as file:
        file.truncate(2**40)


def claiming(length):
    header = length.to_bytes(8, "little")
    return header + framing._checksum(header) + b"x" * 100


@contextlib.contextmanager
def nobody(folder):
    """Somebody who may not read everything, as the superuser may; the folder is theirs."""
    if os.geteuid() != 0:
        yield
        return
    user = 65534
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


UNREADABLE = [garbage, zeros, no_event, claims_gigabytes, sparse]


class TestUnreadable:
    @pytest.mark.parametrize("damage", UNREADABLE)
    @pytest.mark.parametrize("mode", ["", "train"])
    def test_it_is_set_aside_by_name_and_fed_again(self, tmp_path, damage, mode, caplog):
        train(tmp_path, "tensorboard", range(5))
        (path,) = (tmp_path / "tensorboard" / mode).glob("*tfevents*")
        damage(path)
        size = path.stat().st_size
        train(tmp_path, "tensorboard", range(5, 6))
        assert_same_as_journal(read_points(tmp_path), tmp_path)
        (aside,) = path.parent.glob("*set-aside*")
        assert "tfevents" not in aside.name
        assert aside.stat().st_size == size
        assert str(path) in caplog.text
        assert aside.name in caplog.text
        train(tmp_path, "tensorboard", range(6, 7))
        assert_same_as_journal(read_points(tmp_path), tmp_path)
        assert len(list(path.parent.glob("*set-aside*"))) == 1

    def test_a_new_run_sets_it_aside_too_and_each_under_a_name_of_its_own(self, tmp_path):
        folder = tmp_path / "tensorboard"
        folder.mkdir()
        for content in (b"first", b"second"):
            (folder / own_name()).write_bytes(content)
            writer, run = TensorBoardWriter(tmp_path), RunInfo(tmp_path, "id", 0)
            writer.start(run)
            writer.close(None, run)
        assert sorted(p.read_bytes() for p in folder.glob("*set-aside*")) == [b"first", b"second"]

    def test_one_that_may_not_be_read_is_set_aside(self, caplog):
        with tempfile.TemporaryDirectory() as name:  # pytest's are closed to other users
            folder = Path(name)
            train(folder, "tensorboard", range(3))
            (path,) = (folder / "tensorboard/eval").glob("*tfevents*")
            path.chmod(0)
            with nobody(folder):
                if "tensorboard" not in plugins.offers(GROUP):
                    pytest.skip("another user cannot read this environment")
                train(folder, "tensorboard", range(3, 4))
            assert "Permission denied" in caplog.text
            assert_same_as_journal(read_points(folder), folder)
            assert len(list(path.parent.glob("*set-aside*"))) == 1

    @pytest.mark.parametrize("length", [2**63, 2**40, 2**28 + 1, 200])
    def test_a_length_that_the_file_does_not_have_is_damage(self, tmp_path, length):
        path = tmp_path / "events"
        path.write_bytes(framing.frame(b"first") + claiming(length))
        assert [record.payload for record in framing.read(path)] == [b"first"]

    def test_a_record_that_no_epoch_can_need_is_not_read(self, tmp_path):
        path = tmp_path / "events"
        path.write_bytes(framing.frame(b"first") + claiming(2**32))
        os.truncate(path, 2**33)
        assert [record.payload for record in framing.read(path)] == [b"first"]

    def test_a_record_that_is_no_event_is_damage(self, tmp_path, caplog):
        train(tmp_path, "tensorboard", range(3))
        (path,) = (tmp_path / "tensorboard/train").glob("*tfevents*")
        starts = [held.start for held, event in event_files.events(path) if event.step == 2]
        data = path.read_bytes()
        path.write_bytes(data[: starts[0]] + framing.frame(b"\xff\xff\xff") + data[starts[0] :])
        train(tmp_path, "tensorboard", range(3, 4))
        assert_same_as_journal(read_points(tmp_path), tmp_path)
        assert f"damaged from byte {starts[0]}" in caplog.text

    @pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
    def test_what_is_no_plain_file_is_passed_over(self, tmp_path, kind):
        train(tmp_path, "tensorboard", range(3))
        path = tmp_path / "tensorboard/train" / own_name()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to(tmp_path / "away")
        train(tmp_path, "tensorboard", range(2, 4))
        assert os.path.lexists(path)
        path.rmdir() if kind == "folder" else path.unlink()
        assert_same_as_journal(read_points(tmp_path), tmp_path)


BAD_STATES = [
    {"begins": 5},
    {"begins": [1, 2]},
    {"begins": {"train": "0"}},
    {"begins": {"train": -1, "other": 2}},
    {"begins": {"train": True}},
    {"numbers": [1]},
    {"numbers": {"a": "x"}},
    {"numbers": {"a": 1, "b": 1}},
    {"numbers": {"a": 10**30}},
    {"numbers": None, "begins": None, "stats": None},
    {"stats": "saturation"},
    {"stats": [1, {}]},
    {"stats": {"saturation": 1}},
    {"something": "else"},
]


@pytest.mark.parametrize("state", BAD_STATES, ids=str)
def test_a_state_of_any_shape_is_passed_over_and_said_once(tmp_path, state, caplog):
    metrics = {Metric("train", "saturation", layer): 0.5 for layer in ("a", "b")}

    def save(writer, run, epoch):
        writer.add_scalar("loss", 1.0)
        writer.add_scalars(metrics)
        writer.save(epoch, 1000 * epoch, run)

    writer, run = TensorBoardWriter(tmp_path), RunInfo(tmp_path, "id", 0, layers=("a", "b"))
    writer.start(run)
    for epoch in range(3):
        save(writer, run, epoch)
    writer.close(None, run)
    told = RunInfo(
        tmp_path, "id", 0, ("b", "a"), initial_epoch=3, epochs=(0, 1, 2), state=run.state | state
    )
    writer = TensorBoardWriter(tmp_path)
    lacking = writer.resume_from_saved_state(3, told)
    assert lacking == (0 if "begins" in state else 3)
    for epoch in range(lacking, 4):
        save(writer, told, epoch)
    writer.close(None, told)
    assert sorted(read_points(tmp_path)) == sorted(
        (epoch, name, value)
        for epoch in range(4)
        for name, value in [("loss", 1.0), *metrics.items()]
    )
    held = accumulator(tmp_path / "tensorboard/train").Tags()["scalars"]
    assert sorted(held) == ["saturation/000.a", "saturation/001.b"]
    assert caplog.text.count("passed over") == ("something" not in state)
    assert told.state["begins"] == {"train": 0}


def row_name(folder):
    """The name of the run's row in the HParams page."""
    held = accumulator(folder / "tensorboard")
    assert len(held.Tensors("_hparams_/session_start_info")) == 1
    content = held.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    return HParamsPluginData.FromString(content).session_start_info.group_name


@pytest.mark.parametrize("initial_epoch", [2, 4])
def test_a_copied_folder_goes_on_in_its_own_files_under_its_own_name(tmp_path, initial_epoch):
    config = {"lr": 0.1}
    train(tmp_path / "a", "tensorboard", range(4), config=config)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    before = {p: p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()}
    remembered = {
        "numbers": {"0": 0, "2": 1},
        "begins": {"train": 0, "eval": 0},
        "stats": ["saturation"],
    }
    told = RunInfo(
        tmp_path / "b",
        "feedface00",
        0,
        ("2", "0"),
        config,
        initial_epoch,
        epochs=tuple(range(initial_epoch)),
        origin=Origin("old", str(tmp_path / "a"), remembered),
    )
    writer = TensorBoardWriter(tmp_path / "b")
    assert writer.resume_from_saved_state(initial_epoch, told) == initial_epoch
    assert told.state.pop("page")["command"][-1] == str(tmp_path / "b")
    assert told.state == remembered
    writer.add_scalars({Metric("train", "saturation", "2"): 0.5})
    writer.save(initial_epoch, 1000, told)
    writer.close(None, told)
    assert row_name(tmp_path / "b") == "b-feedface"
    assert row_name(tmp_path / "a").startswith("a-")
    held = accumulator(tmp_path / "b/tensorboard/train").Scalars("saturation/001.2")
    assert [event.step for event in held] == [*range(initial_epoch), initial_epoch]
    assert {path: path.read_bytes() for path in before} == before
