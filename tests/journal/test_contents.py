"""Journals that are damaged, and journals that somebody has made up."""

import contextlib
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.errors import JournalError
from delve.journal.journal import Journal
from delve.journal.lines import encode
from delve.journal.reading import JOURNAL_NAME, read_epochs
from delve.journal.stored_run import read_run
from delve.records import EpochRecord, Metric

FC = Metric("train", "saturation", "fc")
EPOCH = {"type": "epoch", "epoch": 1, "time": 2, "scalars": {"a": 0.5}, "metrics": {}}
HEADER = {"type": "run", "format": 1, "run_id": "a", "created": 1, "layers": [], "config": {}}
RESUME = {"type": "resume", "epoch": 0, "time": 3}
CONFIG = {"type": "config", "config": {"lr": 0.1}}
STATE = {"type": "state", "writer": "csv", "state": {"id": "x"}}


def write_lines(folder, *entries):
    """A journal of a header, these objects or lines, and epoch 5."""
    lines = [entry if isinstance(entry, bytes) else encode(entry) for entry in entries]
    content = [encode(HEADER), *lines, encode(EPOCH | {"epoch": 5})]
    (folder / JOURNAL_NAME).write_bytes(b"".join(content))
    return folder


def check_whole_use(folder):
    """All that Delve does with a journal; returns the run, with its records in memory."""
    run = read_run(folder)
    run = replace(run, records=tuple(run.records))
    assert read_epochs(folder) == run.epochs == sorted(run.epochs)
    journal = Journal.resume(folder, max(run.epochs, default=0) + 1, config={"lr": 1})
    assert [journal.read(epoch) for epoch in journal.epochs] == list(run.records)
    assert all(type(epoch) is int for epoch in journal.epochs)
    assert isinstance(journal.state("csv"), dict)
    assert isinstance(journal.config, dict)
    assert all(isinstance(layer, str) for layer in journal.layers)
    assert isinstance(journal.created, int)
    journal.write_epoch(
        EpochRecord(2**53, 1, {"b": 1.0}, {Metric("train", "saturation", "fc"): 1.0}), []
    )
    journal.remember("csv", {})
    journal.close()
    return run


# A line of a resume that is damaged


def test_what_a_damaged_resume_had_voided_does_not_come_back(tmp_path):
    def values(first, last, loss):
        return [EpochRecord(epoch, epoch, {"loss": loss}, {}) for epoch in range(first, last)]

    journal = Journal.create(tmp_path, [], {})
    for record in values(0, 10, 1.0):
        journal.write_epoch(record, [])
    journal.close()
    journal = Journal.resume(tmp_path, 3)
    for record in values(3, 6, 2.0):
        journal.write_epoch(record, [])
    journal.close()
    path = tmp_path / JOURNAL_NAME
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"resume", "epoch": 3', b'"resume", "epoch": 7'))
    assert path.read_bytes() != content
    assert list(read_run(tmp_path).records) == [*values(0, 3, 1.0), *values(3, 6, 2.0)]
    assert read_epochs(tmp_path) == [0, 1, 2, 3, 4, 5]


# What is no file


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_file_is_refused_unread_by_all_who_read(tmp_path, make):
    make(tmp_path / JOURNAL_NAME)
    readers = (read_epochs, read_run, lambda folder: Journal.resume(folder, 1), Journal.reopen)
    for reader in readers:
        with pytest.raises(JournalError, match=r"cannot be opened|is a link"):
            reader(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL_NAME]


# Lines that somebody has made up


@pytest.mark.parametrize(
    "entry",
    [
        b"[" * 200_000 + b"\n",
        b'{"type": ' * 200_000 + b"\n",
        EPOCH | {"scalars": {"a": 10**400}},
        EPOCH | {"scalars": {"a": -(10**400)}},
        EPOCH | {"scalars": {"a": None}},
        EPOCH | {"metrics": {"train-saturation/fc": "0.5"}},
        EPOCH | {"metrics": []},
        EPOCH | {"layers": 5},
        EPOCH | {"layers": [5]},
        EPOCH | {"epoch": True},
        EPOCH | {"epoch": -1},
        EPOCH | {"epoch": 10**30},
        EPOCH | {"time": 10**18},
        RESUME | {"epoch": "0"},
        CONFIG | {"config": 7},
        STATE | {"state": "x"},
        STATE | {"writer": ["csv"]},
        HEADER | {"created": "yesterday"},
        HEADER | {"created": 10**18},
        HEADER | {"layers": "fc"},
        HEADER | {"config": []},
        {"type": ["run"]},
        b"7\n",
        b'"type"\n',
    ],
    ids=lambda entry: str(entry)[:80],
)
def test_a_line_of_the_wrong_types_is_named_and_changes_nothing(tmp_path, caplog, entry):
    untouched = check_whole_use(write_lines(tmp_path))
    caplog.clear()
    assert check_whole_use(write_lines(tmp_path, entry)) == untouched
    assert "unreadable lines: 2" in caplog.text


def test_a_type_of_line_that_a_later_version_adds_is_passed_over(tmp_path, caplog):
    check_whole_use(write_lines(tmp_path, {"type": "note", "epoch": "of a later version"}))
    assert "unreadable" not in caplog.text


NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, 10**9, 2**53, 2**63, -1])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.lists(st.text(), max_size=2)
VALUES = st.dictionaries(
    st.text() | st.just("train-saturation/fc"), NUMBERS | st.sampled_from(["NaN", "-Infinity", "?"])
)


@st.composite
def almost_sound_lines(draw):
    """A line with its checksum, of which a part has another type than it should."""
    entry = draw(st.sampled_from([HEADER, EPOCH, EPOCH, RESUME, CONFIG, STATE]))
    names = st.sampled_from([name for name in (*entry, "layers") if name != "format"])
    sound = {"scalars": VALUES, "metrics": VALUES, "layers": NAMES, "epoch": NUMBERS}
    changes = draw(st.lists(names, max_size=2, unique=True))
    changed = entry | {name: draw(sound.get(name, JSON) | JSON) for name in changes}
    left_out = draw(st.sampled_from([None, *entry]) if draw(st.booleans()) else st.none())
    return {name: value for name, value in changed.items() if name != left_out}


@given(st.lists(almost_sound_lines(), min_size=1, max_size=6))
def test_lines_of_any_types_never_end_in_a_traceback(tmp_path_factory, entries):
    check_whole_use(write_lines(tmp_path_factory.mktemp("run"), *entries))


@contextlib.contextmanager
def memory_for(further_bytes):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + further_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_far_epoch_costs_no_memory(tmp_path, caplog):
    folder = write_lines(tmp_path, EPOCH | {"epoch": 1}, EPOCH | {"epoch": 4})
    with memory_for(2**28):
        journal = Journal.resume(folder, 10**15)
    assert "holds no record of epochs 0, 2-3, 6-999999999999999;" in caplog.text
    assert journal.epochs == [1, 4, 5]
    journal.close()


# Lines that another program has moved, repeated or converted


def lines_of(folder):
    return (folder / JOURNAL_NAME).read_bytes().splitlines(keepends=True)


def go_back(folder):
    """Record epochs 0 to 3, resume at 2, and record 2 to 5, with other values."""
    folder.mkdir()
    journal = Journal.create(folder, [], {})
    for epoch in range(4):
        journal.write_epoch(EpochRecord(epoch, epoch, {"loss": 1.0}, {}), [])
    journal.close()
    journal = Journal.resume(folder, 2)
    for epoch in range(2, 6):
        journal.write_epoch(EpochRecord(epoch, epoch, {"loss": 2.0}, {}), [])
    journal.close()
    return folder


@pytest.fixture
def went_back(tmp_path):
    return go_back(tmp_path / "run")


RIGHT = {0: 1.0, 1: 1.0, 2: 2.0, 3: 2.0, 4: 2.0, 5: 2.0}


def losses(folder):
    return {record.epoch: record.scalars["loss"] for record in read_run(folder).records}


@given(data=st.data())
def test_lines_count_in_their_own_order_wherever_they_stand(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any") / "run"
    lines = lines_of(go_back(folder))
    again = data.draw(st.lists(st.sampled_from(range(len(lines))), max_size=5))
    order = data.draw(st.permutations([*range(len(lines)), *again]))
    (folder / JOURNAL_NAME).write_bytes(b"".join(lines[place] for place in order))
    assert losses(folder) == RIGHT
    journal = Journal.resume(folder, 6)
    journal.write_epoch(EpochRecord(6, 6, {"loss": 3.0}, {}), [])
    journal.close()
    assert losses(folder) == RIGHT | {6: 3.0}


@pytest.mark.parametrize("place", [2, 3, 6])
def test_a_repeated_line_voids_nothing_in_the_journal_or_in_a_backend(place, went_back, caplog):
    lines = lines_of(went_back)
    (went_back / JOURNAL_NAME).write_bytes(b"".join([*lines, lines[place]]))
    assert read_epochs(went_back) == list(RIGHT)
    journal = Journal.resume(went_back, 6)
    journal.close()
    assert f"repeated or moved are read where they belong: {len(lines) + 1}" in caplog.text


def test_line_ends_of_windows_are_forgiven(went_back, caplog):
    path = went_back / JOURNAL_NAME
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert losses(went_back) == RIGHT
    journal = Journal.resume(went_back, 6)
    journal.write_epoch(EpochRecord(6, 6, {"loss": 3.0}, {}), [])
    assert [journal.read(epoch).scalars["loss"] for epoch in journal.epochs][-2:] == [2.0, 3.0]
    journal.close()
    assert losses(went_back) == RIGHT | {6: 3.0}
    assert "unreadable" not in caplog.text


@pytest.mark.parametrize("first", [1, 6])
def test_a_last_line_without_its_newline_counts(first, went_back):
    path = went_back / JOURNAL_NAME
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert losses(went_back) == RIGHT
    journal = Journal.resume(went_back, first)
    journal.write_epoch(EpochRecord(first, 6, {"loss": 3.0}, {}), [])
    journal.close()
    expected = {epoch: loss for epoch, loss in RIGHT.items() if epoch < first}
    assert losses(went_back) == expected | {first: 3.0}


def test_a_header_without_its_newline_is_a_run(tmp_path):
    Journal.create(tmp_path, ["fc"], {}).close()
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(path.read_bytes().splitlines()[0])
    assert read_epochs(tmp_path) == []
    assert read_run(tmp_path).layers == ("fc",)


def test_two_journals_in_one_are_damage(went_back, tmp_path):
    other = Journal.create(tmp_path, [], {})
    other.write_epoch(EpochRecord(9, 9, {"loss": 9.0}, {}), [])
    other.close()
    path = went_back / JOURNAL_NAME
    path.write_bytes(path.read_bytes() + (tmp_path / JOURNAL_NAME).read_bytes())
    assert losses(went_back) == RIGHT
    journal = Journal.reopen(went_back)
    assert journal.sound_below("csv") == float("inf")
    journal.close()


def test_lines_that_are_gone_are_told_of(went_back, caplog):
    lines = lines_of(went_back)
    (went_back / JOURNAL_NAME).write_bytes(b"".join(lines[:2] + lines[4:]))
    journal = Journal.resume(went_back, 6)
    assert "2 lines are gone from it" in caplog.text
    assert journal.sound_below("csv") == float("inf")
    journal.close()


def test_a_journal_from_before_lines_had_numbers_reads_as_it_stands(tmp_path):
    write_lines(tmp_path, EPOCH, EPOCH | {"epoch": 2}, RESUME | {"epoch": 2})
    assert read_epochs(tmp_path) == [1, 5]
    journal = Journal.resume(tmp_path, 6)
    journal.write_epoch(EpochRecord(6, 6, {"loss": 3.0}, {}), [])
    journal.close()
    assert read_epochs(tmp_path) == [1, 5, 6]
