"""A folder of runs: one row each, chosen, sorted, in 80 columns, and as CSV and JSON."""

import csv
import json
import math
import os
import subprocess
import sys
import time

import pytest
import torch
from support.journals import saturations, write_run
from torch import nn

from delve import SaturationTracker
from delve.journal.finding import find_runs

WIDTHS, RATES = (16, 64, 256), (0.1, 0.01)


@pytest.fixture
def sweep(tmp_path):
    """Runs of widths and rates; the wider and the faster, the better."""
    for width in WIDTHS:
        for rate in RATES:
            rows = [
                {
                    "loss": 1 / (width * rate + epoch + 1),
                    "accuracy": width * rate / 100 * (1 if epoch == 1 else 0.5),
                    "average-eval-sat": 0.5,
                    **saturations({"conv": 8 / width, "fc": 4 / width}),
                }
                for epoch in range(3)
            ]
            config = {"model": {"width": width}, "lr": rate, "seed": 7}
            write_run(tmp_path / "sweep" / f"width{width}-lr{rate}", rows, config=config)
    return tmp_path / "sweep"


def rows_of(result):
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.stdout.splitlines() if line]


def test_each_run_has_a_row_in_natural_order(delve, sweep):
    head, *rows = rows_of(delve("show", sweep, columns=200))
    assert [row[0] for row in rows] == [
        f"width{width}-lr{rate}" for width in WIDTHS for rate in sorted(RATES)
    ]
    assert " ".join(head).startswith("run status epochs when width lr loss best loss accuracy")
    assert "seed" not in head, "which is the same in all"
    assert " ".join(head).count("best") == 2, "that of an average means nothing"
    wide = next(row for row in rows if row[0] == "width64-lr0.1")
    assert wide[1:3] == ["unknown", "3"]
    assert wide[5:] == ["64", "0.1", "0.1064", "0.1064", "0.032", "0.064", "0.5", "9.4%"]


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("accuracy", "width256-lr0.1"),
        ("-accuracy", "width16-lr0.01"),
        ("loss", "width256-lr0.1"),
        ("-loss", "width16-lr0.01"),
        ("width", "width16-lr0.01"),
        ("-model.width", "width256-lr0.01"),
        ("lr", "width16-lr0.01"),
        ("lsat", "width256-lr0.01"),
        ("saturation", "width256-lr0.01"),
        ("name", "width16-lr0.01"),
        ("epochs", "width16-lr0.01"),
    ],
)
def test_runs_are_sorted_with_the_best_first(delve, sweep, key, first):
    assert rows_of(delve("show", sweep, "--sort", key))[1][0] == first


def test_conditions_choose_by_value(delve, sweep):
    chosen = rows_of(delve("show", sweep, "--where", "lr=1e-1", "--where", "width=64"))
    assert [row[0] for row in chosen[1:2]] == ["width64-lr0.1"]
    assert delve("show", sweep, "--where", "lr=7").stdout == "no run is like that\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--where", "lr"], "'lr' is no condition; write lr=0.1"),
        (["--where", "depth=3"], "no run has a hyperparameter 'depth'; there are: model.width, lr"),
        (["--sort", "acuracy"], "no run has 'acuracy'; there are: name, status"),
        (["--stat", "lsat", "--stat", "idim"], "one statistic is shown, not 2"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(delve, sweep, arguments, told):
    result = delve("show", sweep, *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert told in result.stderr


def test_layers_are_shown_one_by_one(delve, sweep):
    head, first, *_ = rows_of(delve("show", sweep, "--layers", "f*", columns=200))
    assert " ".join(head).endswith("lsat eval fc")
    assert first[-1] == "25.0%"
    one = delve("show", next(iter(find_runs(sweep))), "--layers", "f*").stdout
    assert "\nfc " in one
    assert "\nconv " not in one


def test_columns_of_several_layers_have_their_names(delve, sweep):
    shown = delve("show", sweep, "--layers", "*", columns=80)
    head, first, *_ = rows_of(shown)
    assert head[-2:] == ["conv", "fc"]
    assert first[-2:] == ["50.0%", "25.0%"]
    assert "\nthe columns of layers show lsat eval\n" in shown.stdout
    assert "lsat eval fc" in delve("show", sweep, "--layers", "*", "--csv").stdout


def test_what_runs_are_sorted_by_is_shown(delve, sweep):
    by_loss, by_accuracy = (
        delve("show", sweep, "--layers", "*", "--sort", key, columns=72).stdout.splitlines()[0]
        for key in ("loss", "-accuracy")
    )
    assert ("best loss" in by_loss, "best accuracy" in by_loss) == (True, False)
    assert ("best loss" in by_accuracy, "best accuracy" in by_accuracy) == (False, True)


def test_csv_holds_all_columns_exactly(delve, sweep):
    result = delve("show", sweep, "--csv", "--sort", "accuracy")
    first = next(csv.DictReader(result.stdout.splitlines()))
    assert first["run"] == "width256-lr0.1"
    assert float(first["best accuracy"]) == 256 * 0.1 / 100
    assert (first["model.width"], first["lr"]) == ("256", "0.1")
    assert float(first["lsat eval mean"]) == 6 / 256


def test_json_is_that_of_each_run(delve, sweep):
    told = json.loads(delve("show", sweep, "--json", "--where", "width=16").stdout)
    assert [run["config"]["lr"] for run in told] == [0.01, 0.1]
    assert told[0]["stats"][0]["layers"]["fc"]["eval"]["value"] == 0.25


@pytest.mark.parametrize("columns", [80, 160])
def test_a_hundred_runs_with_long_names_fit_and_differ(delve, tmp_path, columns):
    for number in range(100):
        name = f"experiment-with-a-name-of-sixty-characters-{number:03}-of-the-week"
        config = {"lr": number / 1000, "optimizer": "adam" if number % 2 else "sgd"}
        write_run(tmp_path / name, [{"accuracy": 0.5, **saturations({"fc": 0.5})}], config=config)
    lines = delve("show", tmp_path, columns=columns).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    names = [line.split()[0] for line in lines[1:101]]
    assert len(set(names)) == 100
    assert "optimizer" in lines[0]
    assert "lr" in lines[0].split()
    assert ("no room for: " in " ".join(lines[101:])) == (columns == 80)


def test_what_all_names_begin_with_is_told_once(delve, tmp_path):
    for name in ("sweep-a/run", "sweep-a/run/earlier/1", "sweep-b/run"):
        write_run(tmp_path / name, [{"loss": 1.0}])
    lines = delve("show", tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["a/run", "a/run/earlier/1", "b/run"]
    assert "all names begin with sweep-" in lines


def test_status_of_each_is_told(delve, tmp_path):
    program = (
        "import os, sys, torch; from torch import nn; from delve import SaturationTracker\n"
        "model = nn.Linear(3, 2)\n"
        "with SaturationTracker(sys.argv[1], 'print', model) as tracker:\n"
        "    model(torch.rand(9, 3)); tracker.add_saturations()\n"
        "    exec(sys.argv[2])"
    )
    for name, end in {"done": "", "dead": "os.kill(os.getpid(), 9)", "bad": "1 / 0"}.items():
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, tmp_path / name, end],
            capture_output=True,
            env=dict(os.environ),
        )
    with SaturationTracker(tmp_path / "now", "print", nn.Linear(3, 2)):
        rows = rows_of(delve("show", tmp_path))
    told = {row[0]: row[1] for row in rows[1:]}
    assert told == {"bad": "failed", "dead": "killed", "done": "finished", "now": "running"}
    assert "failed (ZeroDivisionError), " in delve("show", tmp_path / "bad").stdout
    shown = json.loads(delve("show", tmp_path / "bad", "--json").stdout)[0]
    assert shown["status"]["state"] == "failed"


def test_dimensions_and_features_stand_beside_a_saturation(delve, tmp_path):
    model = nn.Sequential(nn.Linear(40, 64))
    with SaturationTracker(tmp_path, "print", model, stats=["lsat", "idim"]) as tracker:
        model(torch.rand(500, 40))
        tracker.add_saturations()
    told = json.loads(delve("show", tmp_path, "--json", "--stat", "idim").stdout)[0]
    count = round(told["stats"][0]["layers"]["0"]["train"]["value"])
    assert f"{count / 64:.1%} ({count} of 64)" in delve("show", tmp_path).stdout
    assert told["features"] == {"0": 64}


def test_one_that_is_broken_is_left_out_and_named(delve, sweep):
    (sweep / "broken").mkdir()
    (sweep / "broken" / "journal.jsonl").write_text("nothing\n")
    result = delve("show", sweep)
    assert len(rows_of(result)) == 7 or "no room" in result.stdout
    assert result.stderr.startswith("Warning: left out: ")


def test_a_folder_of_many_runs_is_shown_as_quickly_as_its_json_is_read(delve, tmp_path):
    names = [f"{mode}-saturation/layer{n}" for mode in ("train", "eval") for n in range(100)]
    for number in range(5):
        rows = [{"loss": 0.5, **dict.fromkeys(names, math.pi / (n + 4))} for n in range(100)]
        write_run(tmp_path / f"run{number}", rows)

    def parse_all():
        for folder in find_runs(tmp_path):
            for line in (folder / "journal.jsonl").read_bytes().splitlines():
                json.loads(line)

    def cost(what):
        begin = time.process_time()
        what()
        return time.process_time() - begin

    delve("show", tmp_path)
    ratios = sorted(cost(lambda: delve("show", tmp_path)) / cost(parse_all) for _ in range(5))
    assert ratios[2] < 6, ratios  # twice what reading them may take, which is three times
