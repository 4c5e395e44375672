"""Whose file is it: what Delve did not write is neither replaced, cut nor deleted."""

import csv
import json
import os
import shutil

import pytest
import torch
from delve_csv import CSVWriter
from torch import nn

from delve import SaturationTracker
from delve.errors import WriterConfigurationError
from delve.records import Origin, RunInfo
from delve.testing import journal_rows

LIGHTNING = "epoch,step,train_loss\n0,49,0.5\n1,99,0.25\n"
KERAS = "epoch,accuracy,loss\n0,0.1,0.9\n1,0.2,0.8\n"
FOREIGN = {
    "lightning": LIGHTNING,
    "lightning, sorted": "acc,epoch,step\n0.1,0,49\n",
    "keras": KERAS,
    "the same columns": "epoch,accuracy\n0,0.1\n",
    "names much like ours": "epoch,train-loss/top1,eval-acc/top5\n0,0.1,0.2\n",
    "no header": "0,1,2\n3,4,5\n",
    "empty": "",
    "not text": "\xff\xfe\x00",
    "epochs alone": "epoch\n0\n1\n",
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def train(folder, epochs, save_to="csv", first=0, name="accuracy", model=None):
    tracker = SaturationTracker(folder, save_to, model or nn.Linear(4, 3), initial_epoch=first)
    with tracker:
        for epoch in epochs:
            if model:
                model(torch.randn(9, 4))
            tracker.add_scalar(name, epoch / 7)
            tracker.add_saturations()


def rows(path):
    held = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            epoch = int(row.pop("epoch"))
            assert epoch not in held
            held[epoch] = {name: float(cell) for name, cell in row.items() if cell}
    return held


def tables(folder):
    return sorted(path.name for path in folder.glob("*.csv"))


@pytest.mark.parametrize("first", [0, 2], ids=["new", "resumed"])
@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_another_programs_file_stays_and_the_table_has_another_name(
    tmp_path, caplog, content, first
):
    if first:
        train(tmp_path, range(first), "print")
    foreign = tmp_path / "metrics.csv"
    foreign.write_bytes(content.encode("latin-1"))
    before = foreign.read_bytes(), foreign.stat().st_ino
    train(tmp_path, range(first, 4), first=first)
    train(tmp_path, range(3, 6), first=3)  # it finds the table again
    assert (foreign.read_bytes(), foreign.stat().st_ino) == before
    assert tables(tmp_path) == ["metrics-delve.csv", "metrics.csv"]
    assert rows(tmp_path / "metrics-delve.csv") == journal_rows(tmp_path)
    assert list(journal_rows(tmp_path)) == list(range(6))
    said = [message for message in caplog.messages if "metrics-delve.csv" in message]
    assert len(said) == 1
    assert str(foreign) in said[0]


def test_a_new_run_takes_away_the_earlier_runs_table_and_no_other(tmp_path):
    (tmp_path / "metrics.csv").write_text(KERAS)
    train(tmp_path, range(5))
    assert tables(tmp_path) == ["metrics-delve.csv", "metrics.csv"]
    train(tmp_path, range(2))
    assert tables(tmp_path) == ["metrics-delve.csv", "metrics.csv"]
    assert rows(tmp_path / "metrics-delve.csv") == journal_rows(tmp_path)
    (tmp_path / "metrics.csv").unlink()
    train(tmp_path, range(3), name="other")  # the kept journals know the earlier one
    assert tables(tmp_path) == ["metrics.csv"]
    assert rows(tmp_path / "metrics.csv") == journal_rows(tmp_path)


def test_a_table_of_layer_metrics_is_ours_also_without_a_journal(tmp_path, model):
    for stats in (["lsat"], ["spectrum"]):
        tracker = SaturationTracker(tmp_path, "csv", model, stats=stats)
        model(torch.randn(9, 4))
        tracker.add_saturations()
        tracker.close()
        for journal in tmp_path.glob("journal*"):
            journal.unlink()
    train(tmp_path, range(2))
    assert tables(tmp_path) == ["metrics.csv"]
    assert rows(tmp_path / "metrics.csv") == journal_rows(tmp_path)


def test_an_earlier_versions_run_goes_on_in_its_table(tmp_path):
    """Its journal tells that there was a table, and not what it was called."""
    train(tmp_path, range(3))
    journal = tmp_path / "journal.jsonl"
    lines = [line for line in journal.read_text().splitlines(True) if '"file"' not in line]
    opened = '{"type": "state", "writer": "csv", "state": {}, "opened": true}'
    lines.insert(1, opened + "\n")
    journal.write_text("".join(lines))
    train(tmp_path, range(3, 4), first=3)
    assert tables(tmp_path) == ["metrics.csv"]
    assert list(rows(tmp_path / "metrics.csv")) == [0, 1, 2, 3]


def test_a_file_that_comes_before_the_first_row_stays(tmp_path, model):
    """Another logger opens its file after the tracker was made, as Lightning's does."""
    with SaturationTracker(tmp_path, "csv", model) as tracker:
        (tmp_path / "metrics.csv").write_text(LIGHTNING)
        tracker.add_scalar("accuracy", 0.5)
        tracker.save()
    assert (tmp_path / "metrics.csv").read_text() == LIGHTNING
    assert rows(tmp_path / "metrics-delve.csv") == {0: {"accuracy": 0.5}}


@pytest.mark.parametrize("mode", ["a", "w"])
def test_a_table_that_another_program_takes_over_is_left_to_it(tmp_path, model, mode, caplog):
    with SaturationTracker(tmp_path, "csv", model) as tracker:
        for epoch in range(5):
            tracker.add_scalar("accuracy", epoch)
            tracker.save()
            if epoch == 2:
                with (tmp_path / "metrics.csv").open(mode) as file:
                    file.write(LIGHTNING * 3)
                taken = (tmp_path / "metrics.csv").read_bytes()
    assert (tmp_path / "metrics.csv").read_bytes() == taken
    assert "another program has written into" in caplog.text
    assert rows(tmp_path / "metrics-delve.csv") == journal_rows(tmp_path)


def test_a_file_that_comes_where_the_runs_own_was_deleted_stays(tmp_path):
    train(tmp_path, range(3))
    (tmp_path / "metrics.csv").write_text(LIGHTNING)
    train(tmp_path, range(3, 5), first=3)
    assert (tmp_path / "metrics.csv").read_text() == LIGHTNING
    assert rows(tmp_path / "metrics-delve.csv") == journal_rows(tmp_path)


@pytest.mark.parametrize("first", [0, 1])
def test_a_path_of_the_users_own_is_not_written_over(tmp_path, first):
    path = tmp_path / "tables" / "mine.csv"
    path.parent.mkdir()
    path.write_text("epoch,accuracy\n0,0.5\n")
    if first:
        train(tmp_path / "run", range(first), "print")
    train(tmp_path / "run", range(first, 3), CSVWriter(path), first)
    train(tmp_path / "run", range(3, 4), CSVWriter(path), 3)
    assert path.read_text() == "epoch,accuracy\n0,0.5\n"
    assert tables(path.parent) == ["mine-delve.csv", "mine.csv"]
    assert rows(path.with_name("mine-delve.csv")) == journal_rows(tmp_path / "run")


def test_two_runs_that_are_given_one_path_have_a_table_each(tmp_path, model):
    path = tmp_path / "all.csv"
    for fold in ("a", "b"):
        train(tmp_path / fold, range(2), CSVWriter(path), model=model)
    train(tmp_path / "b", range(2, 3), CSVWriter(path), 2, model=model)
    assert rows(path) == journal_rows(tmp_path / "a")
    assert rows(tmp_path / "all-delve.csv") == journal_rows(tmp_path / "b")
    train(tmp_path / "a", range(1), CSVWriter(path), model=model)  # anew, over its own alone
    assert rows(path) == journal_rows(tmp_path / "a")
    assert rows(tmp_path / "all-delve.csv") == journal_rows(tmp_path / "b")


def copied(tmp_path, save_to, path):
    """A copy of a run, as the writer is told of it; and what its journal holds."""
    train(tmp_path / "a", range(3), save_to(path("a")))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with (tmp_path / "a" / "journal.jsonl").open() as file:
        states = [entry["state"] for entry in map(json.loads, file) if entry["type"] == "state"]
    run = RunInfo(
        tmp_path / "b",
        "new",
        0,
        initial_epoch=3,
        epochs=(0, 1, 2),
        metrics=("accuracy",),
        origin=Origin("old", str(tmp_path / "a"), states[-1]),
    )
    writer = save_to(path("b"))
    writer.resume_from_saved_state(3, run)
    for epoch in range(4):
        writer.add_scalar("accuracy", -1.0)
        writer.save(epoch)
    return run


def test_a_copied_folders_table_is_its_own(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.csv").write_text(KERAS)
    run = copied(tmp_path, CSVWriter, lambda name: tmp_path / name)
    assert rows(tmp_path / "a" / "metrics-delve.csv") == journal_rows(tmp_path / "a")
    assert tables(tmp_path / "b") == ["metrics-delve.csv", "metrics.csv"]
    assert set(rows(tmp_path / "b" / "metrics-delve.csv")) == {0, 1, 2, 3}
    assert run.state["file"] == "metrics-delve.csv"


def test_a_copied_folder_leaves_a_table_outside_to_its_origin(tmp_path):
    copied(tmp_path, CSVWriter, lambda _: tmp_path / "shared.csv")
    assert rows(tmp_path / "shared.csv") == journal_rows(tmp_path / "a")
    assert set(rows(tmp_path / "shared-delve.csv")) == {0, 1, 2, 3}


STATES = [1, [], ["metrics.csv"], {"a": 1}, "", "..", "../../x.csv", "x.csv", "/etc/passwd", "\0"]


@pytest.mark.parametrize("state", STATES, ids=repr)
def test_a_state_of_any_shape_is_passed_over_and_said_once(tmp_path, caplog, state):
    run = RunInfo(tmp_path, "id", 0, initial_epoch=1, state={"file": state})
    writer = CSVWriter(tmp_path)
    writer.resume_from_saved_state(1, run)
    writer.resume_from_saved_state(1, run)
    writer.add_scalar("accuracy", 0.5)
    writer.save(1)
    assert rows(tmp_path / "metrics.csv") == {1: {"accuracy": 0.5}}
    assert [message for message in caplog.messages if "passed over" in message] == [
        f"{tmp_path / 'metrics.csv'}: the journal names {state!r} as its file; passed over"
    ]
    assert run.state == {"file": "metrics.csv"}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.mkfifo, "a pipe"),
        (os.mkdir, "a folder"),
        (lambda path: path.symlink_to("elsewhere"), "a link"),
        (lambda path: path.symlink_to("/dev/zero"), "a link"),
    ],
)
def test_what_is_no_file_is_refused_by_name(tmp_path, make, what, first):
    if first:
        train(tmp_path, range(first))
        (tmp_path / "metrics.csv").unlink()
    make(tmp_path / "metrics.csv")
    with pytest.raises(WriterConfigurationError, match=rf"metrics\.csv is {what}.*move it away"):
        train(tmp_path, range(first, 2), first=first)


def test_a_table_far_larger_than_the_journal_explains_is_refused_unread(tmp_path):
    train(tmp_path, range(2))
    os.truncate(tmp_path / "metrics.csv", 1 << 40)
    with pytest.raises(WriterConfigurationError, match=r"metrics\.csv holds 1099511627776 bytes"):
        train(tmp_path, range(2, 3), first=2)
