"""Runs of very many epochs: in memory there is little of them, and nothing goes with their square.

What a process takes is measured in a process of its own, beside the same with a short run.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.journals import write_run

from delve.journal.lines import encode
from delve.journal.reading import JOURNAL_NAME
from delve.journal.stored_run import read_run
from delve.records import Epochs, RunInfo

EPOCHS, LAYERS = 6_000, 47
MOST = 50  # MiB; all the records are 110
HEADER = {"type": "run", "format": 1, "run_id": "a", "created": 1, "layers": [], "config": {}}
EPOCH = {"type": "epoch", "epoch": 1, "time": 2, "scalars": {"a": 0.5}, "metrics": {}}

# What `resource.getrusage` tells of a process counts what its parent took before.
# `python -c`, then a folder and the arguments of the command.
COMMAND = """
import sys
from delve.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
status = open("/proc/self/status").read()
print("peak", status.partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""


def peak(*arguments, **variables):
    """The most memory that a command takes, in MiB, and what it prints."""
    call = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    done = subprocess.run(
        call, capture_output=True, text=True, check=True, env=os.environ | variables, timeout=100
    )
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("peak "))
    return int(line.split()[1]) / 1024, done.stdout, done.stderr


def write_long(folder, epochs, layers=LAYERS):
    """A journal as Delve writes it, quickly."""
    write_run(folder, [], layers=[])
    random = np.random.default_rng(0)
    keys = [f"train-saturation/features.{layer}.conv" for layer in range(layers)]
    with (folder / JOURNAL_NAME).open("ab") as file:
        for epoch in range(epochs):
            values = random.random(layers + 1).tolist()
            entry = {
                **EPOCH,
                "epoch": epoch,
                "scalars": {"loss": values[0]},
                "metrics": dict(zip(keys, values[1:], strict=True)),
            }
            file.write(encode(entry, epoch + 2))
    return folder


def need_plugins(words):
    for name in {"csv", "npy", "plot", "tensorboard"} & set(words):
        pytest.importorskip(f"delve_{name}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A short run and a long one."""
    folder = tmp_path_factory.mktemp("runs")
    return write_long(folder / "short", 10), write_long(folder / "long", EPOCHS)


@pytest.fixture(scope="module")
def base(runs):
    """What the command takes for a run of a few epochs, in MiB."""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells it")
    return peak("show", runs[0])[0]


@pytest.mark.parametrize(
    "command",
    [("show", "RUN"), ("export", "RUN", "--to", "csv")],
    ids=" ".join,
)
def test_a_command_holds_no_epochs(command, runs, base):
    need_plugins(command)
    many, told, _ = peak(*(runs[1] if word == "RUN" else word for word in command))
    assert many - base < MOST, f"{base:.0f} MiB for 10 epochs, {many:.0f} for {EPOCHS}"
    assert str(EPOCHS - 1) in told


def test_the_summary_of_a_long_run_is_that_of_its_epochs(runs, base):
    _, folder = runs
    lines = [json.loads(line) for line in (folder / JOURNAL_NAME).read_bytes().splitlines()]
    losses = [line["scalars"]["loss"] for line in lines if line["type"] == "epoch"]
    many, told, _ = peak("show", folder, "--json")
    assert many - base < MOST
    (shown,) = json.loads(told)
    assert shown["scalars"]["loss"]["last"] == losses[-1]
    assert shown["scalars"]["loss"]["best"] == min(losses)
    assert shown["scalars"]["loss"]["best_epoch"] == losses.index(min(losses))
    first, last = (
        next(line for line in order if line["type"] == "epoch")["metrics"]
        for order in (lines, lines[::-1])
    )
    for key, value in last.items():
        layer = key.removeprefix("train-saturation/")
        cell = shown["stats"][0]["layers"][layer]["train"]
        assert (cell["value"], cell["change"]) == (value, value - first[key])


def test_records_are_a_sequence(runs):
    records = read_run(runs[0]).records
    held = list(records)
    assert [record.epoch for record in held] == list(range(10))
    assert (len(records), records[3], records[-1]) == (10, held[3], held[-1])
    assert list(records[2:8:3]) == held[2:8:3]
    assert list(records[2:8][1:]) == held[3:8]
    assert list(records[::-1]) == list(reversed(records)) == held[::-1]
    assert records == tuple(held)
    assert held[4] in records
    with pytest.raises(IndexError):
        records[10]


@pytest.mark.parametrize("change", ["replaced", "overwritten", "shortened", "gone"])
def test_a_journal_that_changes_while_it_is_read_is_named(change, tmp_path):
    from delve.errors import JournalError

    folder = write_long(tmp_path / "run", 10, layers=2)
    path, run = folder / JOURNAL_NAME, read_run(folder)
    content = path.read_bytes()
    match change:
        case "replaced":
            path.rename(path.with_name("journal.1.jsonl"))
            path.write_bytes(content)
        case "overwritten":
            path.write_bytes(content[:100] + content[150:])
        case "shortened":
            path.write_bytes(content[:200])
        case "gone":
            path.unlink()
    with pytest.raises(JournalError, match=r"journal\.jsonl"):
        list(run.records)


def test_a_run_that_goes_on_while_it_is_read_is_read_as_it_was(tmp_path):
    folder = write_long(tmp_path / "run", 10, layers=2)
    run = read_run(folder)
    with (folder / JOURNAL_NAME).open("ab") as file:
        file.write(encode({"type": "resume", "epoch": 3, "time": 1}, 12))
    assert [record.epoch for record in run.records] == list(range(10))
    assert read_run(folder).epochs == [0, 1, 2]


# What goes with the square of the epochs takes minutes here.


class Clock:
    """Ends in less than so many seconds of the processor's, or fails."""

    def __init__(self, most):
        self.most = most

    def __enter__(self):
        self.begun = time.process_time()

    def __exit__(self, *_):
        assert time.process_time() - self.begun < self.most


MANY = 100_000


def test_an_epoch_is_found_among_many_as_quickly_as_among_few(tmp_path):
    run = RunInfo(tmp_path, "a", 0, initial_epoch=MANY, epochs=tuple(range(0, MANY, 2)))
    with Clock(2):
        assert sum(epoch in run.epochs for epoch in range(MANY)) == MANY // 2
    assert (run.epochs, run.epochs[1], len(run.epochs)) == (tuple(range(0, MANY, 2)), 2, MANY // 2)
    for other in (1, -1, MANY, 1.5, None, "2", float("nan")):
        assert other not in run.epochs
    assert 2.0 in run.epochs
    assert 0 not in Epochs()
    assert 0 in RunInfo(tmp_path, "a", 0, epochs=(3, 0)).epochs


@pytest.mark.parametrize("kind", [list, tuple, set, np.array, dict.fromkeys, Epochs])
def test_what_a_backend_lacks_is_found_quickly_in_whatever_it_answers_with(kind, tmp_path):
    run = RunInfo(tmp_path, "a", 0, initial_epoch=MANY, epochs=tuple(range(MANY)))
    with Clock(2):
        assert run.first_lacking(kind(list(range(MANY)))) == MANY
        assert run.first_lacking(kind(list(range(MANY - 1)))) == MANY - 1


def test_what_an_export_sent_is_told_quickly():
    from delve.cli.exporting import _sent

    with Clock(2):
        assert _sent(range(1, MANY), range(MANY)) == f"sent epochs 1-{MANY - 1}, had epoch 0"


@pytest.mark.parametrize("name", ["csv", "npy", "tensorboard"])
def test_a_resume_takes_no_longer_for_each_epoch_of_a_long_run(name, tmp_path):
    need_plugins([name])
    from delve.delivery.discovery import make_writers

    run = RunInfo(tmp_path, "a", 0, initial_epoch=40_000, epochs=tuple(range(40_000)))
    if name == "csv":
        rows = "".join(f"{epoch},0.5\n" for epoch in run.epochs)
        (tmp_path / "metrics.csv").write_text(f"epoch,train-saturation/fc\n{rows}")
    (writer,) = make_writers(name, tmp_path)
    hook = writer.hook
    if name != "csv":
        new = RunInfo(tmp_path, "a", 0)
        hook.start(run=new)
        for epoch in run.epochs[:: 1 if name == "npy" else 20]:
            hook.add_scalar(name="loss", value=0.5, epoch=epoch, timestamp=1, run=new)
            hook.save(epoch=epoch, timestamp=1, step=None, run=new)
        hook.close(error=None, run=new)
    (writer,) = make_writers(name, tmp_path)
    with Clock(3):
        writer.hook.resume_from_saved_state(initial_epoch=40_000, run=run)


# Journals that somebody has made up


def journal(folder, *parts):
    folder.mkdir()
    with (folder / JOURNAL_NAME).open("wb") as file:
        file.write(encode(HEADER))
        for part in parts:
            file.seek(part, os.SEEK_END) if isinstance(part, int) else file.write(part)
    return folder


@pytest.mark.parametrize("command", [("show",), ("export", "--to", "csv")], ids=" ".join)
def test_a_line_without_an_end_is_not_read_into_memory(command, base, tmp_path):
    first, *options = command
    path = journal(tmp_path / "long", encode(EPOCH), 3 << 30, b"x")  # which takes no disk
    many, _, said = peak(first, path, *options)
    assert many - base < 150
    assert "does not end" in said
    assert str(path / JOURNAL_NAME) in said


def test_a_line_that_is_too_long_is_passed_over_as_damage(tmp_path):
    path = journal(tmp_path / "run", encode(EPOCH), 2**26, b"\n", encode(EPOCH | {"epoch": 2}))
    run = read_run(path)
    assert (run.epochs, run.damaged_lines) == ([1, 2], (3,))
    assert [record.epoch for record in run.records] == [1, 2]


def test_a_file_of_nothing_but_line_ends_is_no_journal(base, tmp_path):
    many, _, said = peak("show", journal(tmp_path / "run", b"\n" * 30_000_000))
    assert many - base < 150
    assert "damaged beyond use" in said


def test_lines_in_another_order_take_no_more_memory(runs, base, tmp_path):
    lines = (runs[1] / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL_NAME).write_bytes(b"".join([*lines, lines[5]]))
    many, told, _ = peak("show", tmp_path)
    assert many - base < MOST
    assert f"{EPOCHS} (0-{EPOCHS - 1})" in told


@pytest.mark.parametrize("depth", [10, 100_000])
def test_a_line_of_many_brackets_is_damage(depth, tmp_path):
    nested = b'{"type": "config", "config": {"a": ' + b"[" * depth + b"\n"
    assert read_run(journal(tmp_path / "run", nested, encode(EPOCH))).damaged_lines == (2,)


@pytest.mark.parametrize(
    "command",
    [
        ("show", "RUN"),
        ("export", "RUN", "--to", "csv", "--to", "npy", "--to", "tensorboard"),
        ("plot", "RUN", "--out", "."),
    ],
    ids=" ".join,
)
def test_a_gap_of_epochs_costs_nothing(command, base, tmp_path, monkeypatch):
    need_plugins(command)
    monkeypatch.chdir(tmp_path)
    metrics = {"metrics": {"train-saturation/fc": 0.5}}
    far = [encode(EPOCH | metrics | {"epoch": epoch}) for epoch in (0, 1, 4 * 10**7, 2**53)]
    folder = journal(tmp_path / "far", *far)
    many, _, said = peak(*(folder if word == "RUN" else word for word in command))
    assert many - base < 200  # Matplotlib and TensorBoard
    assert "Error" not in said
