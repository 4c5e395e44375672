import json
import math
import resource
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.errors import JournalError
from delve.journal.clock import now_in_ms
from delve.journal.journal import Journal
from delve.journal.reading import JOURNAL_NAME, read_epochs
from delve.journal.stored_run import read_run
from delve.records import EpochRecord, Metric

FC = Metric("train", "saturation", "fc")


def record(epoch, value=0.5, scalars=None):
    return EpochRecord(
        epoch, 1_700_000_000_000 + epoch, scalars or {"accuracy": value}, {FC: value}
    )


def write(folder, epochs, config=None):
    journal = Journal.create(folder, ["fc"], config or {})
    for epoch in epochs:
        journal.write_epoch(record(epoch, epoch / 10), ["fc"])
    return journal


def test_an_epoch_reads_back_exactly(tmp_path):
    journal = write(tmp_path, range(3))
    values = EpochRecord(
        3,
        1_700_000_000_123,
        {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "third": 1 / 3, "tiny": 5e-324},
        {FC: 0.1 + 0.2},
    )
    journal.write_epoch(values, ["fc"])
    back = journal.read(3)
    assert repr(back) == repr(values)
    assert isinstance(next(iter(back.metrics)), Metric)


@given(st.dictionaries(st.text(), st.floats(width=64), max_size=20))
def test_any_names_and_numbers_read_back(tmp_path_factory, scalars):
    folder = tmp_path_factory.mktemp("run")
    journal = Journal.create(folder, [], {})
    journal.write_epoch(EpochRecord(0, 1, scalars, {}), [])
    journal.close()
    back = Journal.resume(folder, 1).read(0).scalars
    assert repr(back) == repr(scalars)


def test_non_finite_numbers_are_the_documented_strings(tmp_path):
    journal = Journal.create(tmp_path, [], {})
    journal.write_epoch(EpochRecord(0, 1, {"a": math.nan, "b": math.inf, "c": -math.inf}, {}), [])
    line = json.loads((tmp_path / JOURNAL_NAME).read_text().splitlines()[1])
    assert line["scalars"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}


def test_each_line_is_in_the_file_at_once(tmp_path):
    journal = write(tmp_path, range(2))
    assert read_epochs(tmp_path) == [0, 1]
    journal.write_epoch(record(2), ["fc"])
    assert read_epochs(tmp_path) == [0, 1, 2]


def test_a_resume_voids_the_epochs_from_there_on(tmp_path):
    run_id = write(tmp_path, range(6)).run_id
    journal = Journal.resume(tmp_path, 3)
    assert journal.epochs == [0, 1, 2]
    assert journal.run_id == run_id
    journal.write_epoch(record(3, 0.99), ["fc"])
    journal.close()
    again = Journal.resume(tmp_path, 4)
    assert again.epochs == [0, 1, 2, 3]
    assert again.read(3).metrics == {FC: 0.99}


def test_a_torn_last_line_is_cut_off_before_anything_is_appended(tmp_path):
    write(tmp_path, range(3)).close()
    path = tmp_path / JOURNAL_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    journal = Journal.resume(tmp_path, 2)
    assert journal.epochs == [0, 1]
    journal.write_epoch(record(2, 0.7), ["fc"])
    journal.close()
    lines = path.read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == [
        "run",
        "epoch",
        "epoch",
        "resume",
        "epoch",
    ]


@given(cut=st.integers(min_value=0, max_value=600))
def test_a_file_cut_anywhere_keeps_every_whole_epoch(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("run")
    write(folder, range(3)).close()
    path = folder / JOURNAL_NAME
    content = path.read_bytes()
    data = content[: len(content) - cut]
    path.write_bytes(data)
    lines = content.splitlines(keepends=True)
    ends = [len(b"".join(lines[: place + 1]).rstrip()) for place in range(len(lines))]
    whole = max(0, sum(len(data) >= end for end in ends) - 1)  # but for the header
    assert read_epochs(folder) == list(range(whole))


@given(data=st.data())
def test_a_changed_bit_is_never_taken_for_a_value(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("run")
    write(folder, range(3)).close()
    path = folder / JOURNAL_NAME
    written = {record.epoch: record for record in read_run(folder).records}
    content = bytearray(path.read_bytes())
    header = content.index(b"\n") + 1
    place = header + data.draw(st.integers(0, 10_000)) % (len(content) - header)
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    held = {record.epoch: record for record in read_run(folder).records}
    assert held.items() <= written.items()
    assert len(held) >= 1  # a line break that is gone or new costs two lines at most


def test_a_damaged_line_is_named_and_the_rest_is_read(tmp_path, caplog):
    write(tmp_path, range(4)).close()
    path = tmp_path / JOURNAL_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"epoch"', b'"\xff\xfe"')
    path.write_bytes(b"".join(lines))
    journal = Journal.resume(tmp_path, 4)
    assert journal.epochs == [0, 2, 3]
    assert "unreadable lines: 3" in caplog.text
    assert "no record of epochs 1" in caplog.text


@given(position=st.integers(min_value=0), byte=st.integers(min_value=0, max_value=255))
def test_a_changed_byte_never_ends_in_a_traceback(tmp_path_factory, position, byte):
    folder = tmp_path_factory.mktemp("run")
    write(folder, range(3)).close()
    path = folder / JOURNAL_NAME
    data = bytearray(path.read_bytes())
    data[position % len(data)] = byte
    path.write_bytes(data)
    try:
        journal = Journal.resume(folder, 3)
    except JournalError:
        return
    for epoch in journal.epochs:
        journal.read(epoch)
    journal.close()


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    (tmp_path / JOURNAL_NAME).write_text("hello\n")
    with pytest.raises(JournalError, match="initial_epoch=0"):
        Journal.resume(tmp_path, 1)


def test_a_journal_of_a_later_format_is_refused(tmp_path):
    write(tmp_path, range(1)).close()
    path = tmp_path / JOURNAL_NAME
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(JournalError, match="format 99"):
        Journal.resume(tmp_path, 1)


def test_a_new_run_keeps_the_earlier_journals_under_the_next_free_names(tmp_path):
    first, second, third = (write(tmp_path, range(n)).run_id for n in (1, 2, 3))
    ids = {
        name: json.loads((tmp_path / name).read_text().splitlines()[0])["run_id"]
        for name in ("journal.1.jsonl", "journal.2.jsonl", JOURNAL_NAME)
    }
    assert list(ids.values()) == [first, second, third]


def test_resuming_without_a_journal_says_so_and_begins_one(tmp_path, caplog):
    journal = Journal.resume(tmp_path, 3, ["fc"])
    assert "no journal to resume from" in caplog.text
    journal.write_epoch(record(3), ["fc"])
    journal.close()
    assert read_epochs(tmp_path) == [3]


def test_a_writers_state_is_kept_over_a_resume(tmp_path):
    journal = write(tmp_path, range(2))
    journal.remember("mlflow", {"run_id": "a"})
    journal.remember("mlflow", {"run_id": "b"})
    journal.remember("wandb", {"id": "c"})
    journal.close()
    journal = Journal.resume(tmp_path, 1)
    assert journal.state("mlflow") == {"run_id": "b"}
    assert journal.state("wandb") == {"id": "c"}
    assert journal.state("csv") == {}


def test_the_forward_order_is_kept_over_a_resume(tmp_path):
    journal = Journal.create(tmp_path, ["b", "a"], {})
    journal.write_epoch(record(0), ["a", "b"])
    journal.close()
    assert Journal.resume(tmp_path, 1).layers == ("a", "b")


def test_hyperparameters_of_any_type_are_kept(tmp_path):
    import numpy as np

    config = {"lr": np.float32(0.5), "path": tmp_path, "inf": math.inf, "nested": {"n": [1, None]}}
    Journal.create(tmp_path, [], config).close()
    assert Journal.resume(tmp_path, 1).config == {
        "lr": 0.5,
        "path": str(tmp_path),
        "inf": "Infinity",
        "nested": {"n": [1, None]},
    }


def test_hyperparameters_that_a_resumed_run_gives_replace_the_first(tmp_path):
    write(tmp_path, range(1), {"lr": 0.1}).close()
    assert Journal.resume(tmp_path, 1, config={"lr": 0.2}).config == {"lr": 0.2}
    assert Journal.resume(tmp_path, 1, config={}).config == {"lr": 0.2}


def test_a_full_disk_loses_nothing_once_there_is_room_again(tmp_path, caplog):
    journal = write(tmp_path, range(3))
    path = tmp_path / JOURNAL_NAME
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
        journal.write_epoch(record(3), ["fc"])
        journal.write_epoch(record(4), ["fc"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert caplog.text.count("cannot be written") == 1
    assert journal.read(4) == record(4)  # from memory
    journal.write_epoch(record(5), ["fc"])
    journal.close()
    assert read_epochs(tmp_path) == [0, 1, 2, 3, 4, 5]


def test_closing_twice_is_harmless(tmp_path):
    journal = write(tmp_path, range(1))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    journal.close()
    journal.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors - 1


def test_a_journal_that_is_opened_again_voids_nothing_and_keeps_states(tmp_path):
    write(tmp_path, range(3)).close()
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(path.read_bytes() + b"torn")
    journal = Journal.reopen(tmp_path)
    journal.remember("mlflow", {"run_id": "1"})
    journal.close()
    run = read_run(tmp_path)
    assert (run.epochs, run.resumes) == ([0, 1, 2], ())
    assert Journal.reopen(tmp_path).state("mlflow") == {"run_id": "1"}
    assert b"torn" not in path.read_bytes()


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 2])
def test_a_clock_before_1970_is_refused_in_its_own_words(tmp_path, monkeypatch, first):
    if first:
        write(tmp_path, range(2)).close()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(time, "time_ns", lambda: -3 * 86_400 * 10**9)
    with pytest.raises(JournalError, match=r"clock of this machine stands 3\.0 days before 1970"):
        Journal.open(tmp_path, first, [], {})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_clock_set_to_before_1970_in_mid_run_costs_no_epoch(tmp_path, monkeypatch):
    journal = Journal.create(tmp_path, [], {})
    monkeypatch.setattr(time, "time_ns", lambda: -(10**9))
    journal.write_epoch(EpochRecord(0, now_in_ms(), {"loss": 1.0}, {}), [])
    journal.close()
    monkeypatch.undo()
    assert read_epochs(tmp_path) == [0]
    assert read_run(tmp_path).records[0].timestamp == 0
