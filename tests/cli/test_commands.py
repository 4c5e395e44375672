"""The ``delve`` command as a person or a script uses it."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.journals import saturations, write_run
from torch import nn

from delve import SaturationTracker, __version__
from delve.journal.lock import FolderLock
from delve.journal.stored_run import read_run

ROW = {"loss": 0.25, **saturations({"conv": 0.5, "fc": 1.0})}


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.downsample = nn.Sequential()
        if stride > 1:
            self.downsample.append(nn.Conv2d(inputs, outputs, 1, stride))

    def forward(self, x):
        return torch.relu(self.conv2(torch.relu(self.conv1(x))) + self.downsample(x))


class ResNet18(nn.Module):
    """ResNet-18's 20 convolutions and its output layer, an eighth as wide."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1)
        for stage in range(4):
            width = 8 * 2**stage
            first = Block(width // 2, width, 2) if stage else Block(8, 8, 1)
            setattr(self, f"layer{stage + 1}", nn.Sequential(first, Block(width, width, 1)))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.conv1(x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean((2, 3)))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A run of ResNet-18 over two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "resnet18"
    torch.manual_seed(0)
    model = ResNet18()
    with SaturationTracker(folder, "print", model, config={"lr": 0.1}) as tracker:
        for epoch in range(2):
            model.train()(torch.randn(4, 3, 16, 16))
            model.eval()(torch.randn(4, 3, 16, 16))
            tracker.add_scalar("accuracy", 0.5 + epoch / 10)
            tracker.add_saturations()
    return folder


def call(*arguments, **environment):
    """Call the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "delve", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_python_runs_it_as_a_module(tmp_path):
    assert call("--version").stdout == f"delve, version {__version__}\n"
    run = write_run(tmp_path, [ROW])
    shown = call("show", str(run), PYTHONIOENCODING="latin-1")  # which has no bars
    assert (shown.returncode, shown.stdout.splitlines()[-2:]) == (
        0,
        [
            "conv  ##############...............  50.0%  ##############...............  50.0%",
            "fc    ############################# 100.0%  ############################# 100.0%",
        ],
    )
    failed = call("show", str(tmp_path / "nowhere"))
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)


def test_it_ends_quietly_where_nobody_reads_on(tmp_path):
    rows = [{f"scalar number {n}": 1.0 for n in range(5000)}]  # more than a pipe holds unread
    run = write_run(tmp_path, rows)
    for arguments in (["show", run], ["show", run, "--json"], ["export", run, "--to", "print"]):
        with subprocess.Popen(
            [sys.executable, "-m", "delve", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode in (0, 1)  # not 120, of a flush that fails as Python ends


def test_importing_delve_imports_no_command_line_library():
    program = (
        "import sys, delve;"
        "print([name for name in ('click', 'rich', 'delve.cli') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_writers_are_listed_with_distribution_version_and_state(delve):
    result = delve("writers")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["print", "delve", __version__, "healthy"] in rows


def test_a_writer_that_cannot_work_makes_the_exit_code_1(delve, monkeypatch):
    from delve.cli.health import WriterHealth

    bad = WriterHealth("bad", "some-dist", "0.1", "it cannot be\nmade")
    monkeypatch.setattr("delve.cli.health.installed", lambda: [bad])
    monkeypatch.setattr("delve.cli.health.not_installed", lambda: {"csv": "delve-csv"})
    result = delve("writers")
    assert result.exit_code == 1
    assert "bad   some-dist     0.1      it cannot be made\n" in result.stdout
    assert "csv: not installed; pip install ./delve_plugins/delve-csv" in result.stdout


def test_the_reason_is_wrapped_to_the_terminal(delve, monkeypatch):
    from delve.cli.health import WriterHealth

    bad = WriterHealth("bad", "some-dist", "0.1", "it cannot be made, " * 9)
    monkeypatch.setattr("delve.cli.health.installed", lambda: [bad])
    lines = delve("writers", columns=72).stdout.splitlines()[1:]
    reason = [line for line in lines if "not installed" not in line]
    assert max(map(len, reason)) <= 72
    assert {line[:25].strip() for line in reason[1:]} == {""}
    assert " ".join("".join(line[25:].rjust(80) for line in reason).split()) == bad.problem.strip()


CELL = re.compile(r"([0-9.]+%) \(([0-9]+) of ([0-9]+)\)[~! ]*([+-][0-9.]+)?")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_run_of_resnet18_fits_its_columns(delve, resnet, columns):
    lines = delve("show", resnet, columns=columns).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    cells = {line.split()[0]: CELL.findall(line) for line in lines if "%" in line}
    run = read_run(resnet)
    first, last = (record.metrics for record in run.records)
    assert list(cells) == list(run.layers)
    assert len(cells) == 20 + 1  # convolutions, fc
    for layer, shown in cells.items():
        for mode, (value, dimensions, features, change) in zip(
            ("train", "eval"), shown, strict=True
        ):
            now, then = (metrics[f"{mode}-saturation/{layer}"] for metrics in (last, first))
            assert (value, int(features)) == (f"{now:.1%}", run.features[layer])
            assert int(dimensions) == pytest.approx(now * run.features[layer])
            # Where there is not room for all, the changes go first.
            assert change == (f"{100 * (now - then):+.1f}" if columns == 120 else "")


def test_a_wide_terminal_has_longer_bars(delve, resnet):
    bars = {}
    for columns in (80, 160):
        lines = delve("show", resnet, columns=columns).stdout.splitlines()
        assert max(map(len, lines)) <= columns
        line = next(line for line in lines if line.startswith("conv1"))
        bars[columns] = line.count("█") + line.count("░")
    assert bars[160] > 2 * bars[80]


def test_what_is_shown_stays_as_it_is(delve, tmp_path):
    rows = [
        {"loss": 1.0, "accuracy": 0.5, **saturations({"conv": 0.75, "fc": 1.0})},
        {"loss": 0.5, "accuracy": 0.75, **saturations({"conv": 0.25, "fc": 0.5})},
        {"loss": 0.75, "accuracy": 0.625, **saturations({"conv": 0.5, "fc": 0.5})},
    ]
    run = write_run(tmp_path / "run", rows, config={"lr": 0.1, "optimizer": "SGD"})
    lines = delve("show", run, columns=60).stdout.splitlines()
    assert lines[1].startswith("begun")
    assert [lines[0], *lines[2:]] == [
        "             run",
        "epochs       3 (0-2)",
        "resumed      never",
        "layers       2",
        "configuration",
        "  lr         0.1",
        "  optimizer  SGD",
        "last (best at epoch)",
        "  loss       0.75 (min 0.5 at 1)",
        "  accuracy   0.625 (max 0.75 at 1)",
        "",
        "saturation at epoch 2 (and its change since the first epoch",
        "in points)",
        "",
        "      train                       eval",
        "conv  ███████░░░░░░░ 50.0% -25.0  ███████░░░░░░░ 50.0% -25.0",
        "fc    ███████░░░░░░░ 50.0% -50.0  ███████░░░░░░░ 50.0% -50.0",
    ]


def test_runs_stand_side_by_side(delve, tmp_path, resnet):
    other = write_run(tmp_path / "other", [ROW])
    result = delve("show", resnet, other)
    assert result.stdout.splitlines()[0].split() == ["resnet18", "other"]
    assert max(map(len, result.stdout.splitlines())) <= 80
    conv = next(line for line in result.stdout.splitlines() if line.startswith("conv "))
    assert conv.count("50.0%") == 2


def test_statistic_and_epoch_are_chosen(delve, tmp_path):
    rows = [{"train-intrinsic-dimensionality/a": 7.0 + n, **ROW} for n in range(3)]
    run = write_run(tmp_path, rows)
    assert "8" in delve("show", run, "--stat", "idim", "--epoch", "1").stdout.splitlines()[-1]
    result = delve("show", run, "--epoch", "9")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "0-2" in result.stderr
    assert delve("show", run, "--stat", "nonsense").exit_code == 1


def test_json_is_a_list_of_runs(delve, tmp_path, resnet):
    run = write_run(tmp_path, [{"loss": float("nan")}, ROW])
    one, other = json.loads(delve("show", run, resnet, "--json").stdout)
    assert one["scalars"]["loss"] == {
        "last": 0.25,
        "best": 0.25,
        "best_epoch": 1,
        "best_is": "lowest",
    }
    assert one["stats"][0]["layers"]["fc"]["eval"] == {"value": 1.0, "change": 0.0}
    assert list(other["stats"][0]["layers"]) == list(read_run(resnet).layers)


def test_a_run_without_epochs_is_shown_without_a_table(delve, tmp_path):
    result = delve("show", write_run(tmp_path, [], layers=["a"]))
    assert result.exit_code == 0
    assert "epochs   none" in result.stdout


@pytest.fixture
def damaged(tmp_path):
    """A run of three epochs, of which the second cannot be read."""
    run = write_run(tmp_path / "damaged", [ROW] * 3)
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"0.25", b"0.75")  # which its checksum does not allow
    (run / "journal.jsonl").write_bytes(b"".join(lines))
    return run


def test_damage_to_the_journal_is_told(delve, damaged, tmp_path):
    pytest.importorskip("delve_plot")
    said = "journal line 3; missing: epoch 1"
    assert f"damaged  {said}\n" in delve("show", damaged).stdout
    assert json.loads(delve("show", damaged, "--json").stdout)[0]["damaged_lines"] == [3]
    for arguments in (["export", damaged, "--to", "print"], ["plot", damaged, "--out", tmp_path]):
        result = delve(*arguments)
        assert result.exit_code == 0
        assert result.stderr == f"Warning: {damaged}: damaged: {said}\n"


def test_one_run_among_several_may_lack_the_statistic_that_is_shown_by_default(delve, tmp_path):
    one = write_run(tmp_path / "one", [ROW])
    other = write_run(tmp_path / "other", [{"train-stable-rank/fc": 2.0}])
    shown = delve("show", one, other).stdout
    assert "saturation at epoch 0" in shown
    assert "stable-rank at epoch 0" in shown


def test_export_says_what_each_writer_was_sent(delve, tmp_path):
    pytest.importorskip("delve_csv")
    run = write_run(tmp_path, [ROW, ROW])
    assert delve("export", run, "--to", "csv").stdout == "csv: sent epochs 0-1\n"
    # The table has no checksums, so it is written anew from the journal.
    assert delve("export", run, "--to", "csv").stdout == "csv: sent epochs 0-1\n"
    with (run / "metrics.csv").open(newline="") as file:
        assert [row["loss"] for row in csv.DictReader(file)] == ["0.25", "0.25"]


def test_export_says_what_a_writer_had_already(delve, tmp_path, monkeypatch):
    from delve.delivery.export import Outcome

    run = write_run(tmp_path, [ROW] * 3)
    outcomes = [
        Outcome("some", [2], None),
        Outcome("all", [], None),
        Outcome("dead", [], "no route"),
        Outcome("dying", [0, 1], "reset"),
    ]
    monkeypatch.setattr("delve.delivery.export.export", lambda *_: iter(outcomes))
    result = delve("export", run, "--to", "any")
    assert result.stdout == "some: sent epoch 2, had epochs 0-1\nall: had all epochs\n"
    assert result.stderr == (
        "Error: dead: no route (sent nothing)\nError: dying: reset (sent epochs 0-1)\n"
    )


def test_export_to_a_writer_that_fails_exits_with_1_and_serves_the_others(delve, tmp_path):
    pytest.importorskip("delve_csv")
    run = write_run(tmp_path, [ROW])
    (run / "metrics.csv").mkdir()  # in the way of the table
    result = delve("export", run, "--to", "csv", "--to", "print")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: csv: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout.endswith("print: sent epoch 0\n")


def test_a_failure_of_an_export_is_told_once(tmp_path):
    pytest.importorskip("delve_csv")
    run = write_run(tmp_path, [ROW])
    (run / "metrics.csv").mkdir()
    done = call("export", str(run), "--to", "csv")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)  # and no words of the delivery's


def test_export_to_a_writer_that_is_not_installed_changes_nothing(delve, tmp_path):
    run = write_run(tmp_path, [ROW])
    before = sorted(run.rglob("*"))
    result = delve("export", run, "--to", "print", "--to", "nonsense")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: --to: no writer 'nonsense' is installed")
    assert sorted(run.rglob("*")) == before


def test_export_of_a_run_that_is_being_recorded_is_refused(delve, tmp_path):
    lock = FolderLock(write_run(tmp_path, [ROW]))
    result = delve("export", tmp_path, "--to", "print")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "in use" in result.stderr
    lock.release()


def test_recompute_writes_all_epochs_into_a_table(delve, stored, tmp_path):
    path = tmp_path / "thresholds.csv"
    result = delve("recompute", stored, "--threshold", "0.95", "--csv", path)
    assert result.stdout == f"{path}\n"
    with path.open(newline="") as file:
        columns = ("epoch", "intrinsic_dimensionality", "saturation")
        found = [tuple(row[column] for column in columns) for row in csv.DictReader(file)]
    assert found == [("0", "4", "1.0"), ("1", "2", "0.5")]


@pytest.fixture
def stored(tmp_path):
    """A run with covariances of two epochs."""
    run = write_run(tmp_path / "run", [ROW, ROW])
    folder = run / "npy" / "train-covariance-matrix" / "fc"
    folder.mkdir(parents=True)
    np.save(folder / "epoch00000.npy", np.diag([1.0, 1.0, 1.0, 1.0]))
    np.save(folder / "epoch00001.npy", np.diag([90.0, 6.0, 3.0, 1.0]))
    return run
