"""Runs read into memory: their tables, live runs, arrays, and the time that it takes."""

import json
import math
import statistics
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from support.journals import saturations, write_run
from torch import nn

import delve
from delve import Metric, SaturationTracker
from delve.errors import ArgumentError, JournalError
from delve.journal.finding import find_runs, natural
from delve.journal.loading import load, load_all

ROWS = [
    {"loss": 0.5, **saturations({"b": 0.25, "a": 0.75})},
    {"loss": math.nan, "late": 2.0, **saturations({"b": 0.5, "a": math.inf}, ["eval"])},
    {"late": 3.0},
]


def rows_of(frame):
    """The rows as tuples, without the index."""
    return [tuple(row) for row in frame.astype(object).itertuples(index=False)]


def test_the_tables_hold_each_number_once(tmp_path):
    pandas = pytest.importorskip("pandas")
    run = load(write_run(tmp_path / "run", ROWS, layers=["b", "a"], config={"lr": 0.1}))
    expected, scalars = [], []
    for epoch, row in enumerate(ROWS):
        for key, value in row.items():
            metric = Metric.parse(key)
            if metric:
                expected.append((epoch, metric.mode, metric.layer, metric.stat, repr(value)))
            else:
                scalars.append((epoch, key, repr(value)))
    told = rows_of(run.layers.drop(columns="step"))
    assert [(*row[:-1], repr(row[-1])) for row in told] == expected
    assert [
        (*row[:2], repr(row[2])) for row in rows_of(run.scalars.drop(columns="step"))
    ] == scalars
    assert list(run.layers) == ["epoch", "step", "mode", "layer", "stat", "value"]
    assert run.layers["step"].isna().all()
    assert list(run.layers["layer"].cat.categories) == ["b", "a"], "in forward order"
    assert run.layers["value"].dtype == "float64"
    wide = run.layers.pivot_table(index="epoch", columns="layer", values="value", observed=True)
    assert isinstance(wide, pandas.DataFrame)
    assert (run.config, run.name, run.epochs) == ({"lr": 0.1}, "run", [0, 1, 2])


def test_steps_stand_beside_their_epochs(tmp_path):
    pytest.importorskip("pandas")
    model = nn.Linear(3, 2)
    with SaturationTracker(tmp_path, "print", model) as tracker:
        for step in (10, 25):
            model(torch.rand(9, 3))
            tracker.add_scalar("loss", step / 2)
            tracker.add_saturations(step=step)
    run = load(tmp_path)
    assert run.scalars["step"].tolist() == [10, 25]
    assert set(zip(run.layers["epoch"], run.layers["step"], strict=True)) == {(0, 10), (1, 25)}


def test_a_run_of_nothing_has_empty_tables(tmp_path):
    pytest.importorskip("pandas")
    run = load(write_run(tmp_path, []))
    assert (len(run.layers), len(run.scalars), run.notes) == (0, 0, ())


def test_a_loaded_run_cannot_be_changed(tmp_path):
    run = load(write_run(tmp_path, ROWS, config={"lr": 0.1}))
    with pytest.raises(FrozenInstanceError):
        run.name = "other"  # type: ignore[misc]
    run.config["lr"] = 9
    assert run.config == {"lr": 0.1}


def test_a_live_run_is_read_and_goes_on(tmp_path):
    pytest.importorskip("pandas")
    model = nn.Linear(3, 2)
    with SaturationTracker(tmp_path, "print", model) as tracker:
        for epoch in range(3):
            model(torch.rand(9, 3))
            tracker.add_saturations()
            run = load(tmp_path)
            assert (run.status, run.epochs) == ("running", list(range(epoch + 1)))
            assert run.layers["epoch"].tolist() == run.epochs
        with (tmp_path / "journal.jsonl").open("a") as file:
            file.write('{"type": "epoch", "epoch": 3, "ti')  # a line that is being written
        assert load(tmp_path).epochs == [0, 1, 2]
    assert load(tmp_path).features == {"Linear-0": 2}


def test_arrays_are_those_that_were_stored(tmp_path):
    pytest.importorskip("delve_npy")
    model = nn.Sequential(nn.Linear(4, 3))
    samples = torch.rand(50, 4)
    with SaturationTracker(tmp_path, "npy", model, stats=["cov", "lsat"]) as tracker:
        for _ in range(2):
            model(samples)
            model.eval()(2 * samples)
            model.train()
            tracker.add_saturations()
    run = load(tmp_path)
    outputs = model(samples).detach().double().numpy()
    expected = np.cov(outputs.T, bias=True)
    np.testing.assert_allclose(run.array("cov_train", "0", 1), expected, rtol=1e-5)
    doubled = np.cov(model(2 * samples).detach().double().numpy().T, bias=True)
    np.testing.assert_allclose(run.array("covariance-matrix", "0"), doubled, rtol=1e-5)
    with pytest.raises(ArgumentError, match="holds nothing of epoch 7; it does of these: 0-1"):
        run.array("cov", "0", 7)
    with pytest.raises(ArgumentError, match=r"no array 'cov' of layer 'x'; it holds eval-cov.* 0"):
        run.array("cov", "x")


def test_a_figure_is_drawn_of_a_statistic(tmp_path):
    pytest.importorskip("delve_plot")
    run = load(write_run(tmp_path, ROWS))
    title = run.plot().get_suptitle()
    assert "1" in title, "the last epoch that holds it"
    assert len(run.plot("lsat_train", 0).axes) >= 1
    with pytest.raises(ArgumentError, match="holds no idim of any epoch"):
        run.plot("idim")


def test_a_figure_of_all_runs_is_that_of_the_command(tmp_path, caplog):
    pytest.importorskip("delve_plot")
    for width in (16, 256, 64):
        write_run(tmp_path / "sweep" / f"width{width}", ROWS, config={"width": width})
    write_run(tmp_path / "sweep" / "begun", [])
    runs = load_all(tmp_path / "sweep")
    figure = runs.plot("lsat_train", by="width")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["width = 16", "width = 64", "width = 256"]
    assert "3 runs in sweep" in figure.get_suptitle()
    assert f"left out: {tmp_path / 'sweep' / 'begun'} holds no saturation" in caplog.text
    assert len(runs[1:].plot(epoch=0).axes) == 2, "a panel for each mode"
    with pytest.raises(ArgumentError, match="no run has a hyperparameter 'depth'"):
        runs.plot(by="depth")
    with pytest.raises(ArgumentError, match="idim"):
        runs.plot("idim")


def test_a_deep_run_is_drawn_by_type_of_layer_unless_asked_otherwise(tmp_path):
    pytest.importorskip("delve_plot")
    values = {f"blocks.{b}.{end}": 0.1 * b for b in range(5) for end in ("q", "k", "v")}
    run = load(write_run(tmp_path, [saturations(values)]))
    assert [axes.get_title(loc="left") for axes in run.plot().axes] == ["q", "k", "v"]
    labels = run.plot(by="layer").axes[0].get_yticklabels()
    assert len(labels) == 15
    with pytest.raises(ArgumentError, match="by layer or type, not by 'lr'"):
        run.plot(by="lr")


def test_all_runs_of_a_folder_are_found_in_natural_order(tmp_path):
    pytest.importorskip("pandas")
    for width in (16, 256, 64):
        write_run(tmp_path / "sweep" / f"width{width}", ROWS, config={"width": width})
    write_run(tmp_path / "sweep" / "deep" / "er" / "run", ROWS)
    write_run(tmp_path / "sweep" / "width16" / "earlier" / "1", ROWS[:1])
    write_run(tmp_path / "sweep" / "width16" / "npy" / "no run", ROWS)
    (tmp_path / "sweep" / "link").symlink_to(tmp_path / "sweep" / "width64")
    runs = load_all(tmp_path / "sweep")
    names = ["deep/er/run", "width16", "width16/earlier/1", "width64", "width256"]
    assert runs.names == names
    assert runs["width64"].config == {"width": 64}
    assert list(runs.layers["run"].cat.categories) == names
    assert runs.layers.groupby("run", observed=True).size().tolist() == [6, 6, 4, 6, 6]
    assert len(runs.scalars) == 4 * 4 + 1
    assert runs[:2].names == names[:2]


def test_one_that_cannot_be_read_is_left_out_and_named(tmp_path, caplog):
    write_run(tmp_path / "a", ROWS)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "journal.jsonl").write_text("nothing\n")
    assert load_all(tmp_path).names == ["a"]
    assert "left out: " in caplog.text
    assert str(tmp_path / "b") in caplog.text


def test_a_summary_has_a_row_for_each_run(tmp_path):
    pytest.importorskip("pandas")
    for width, rate in ((4, 0.1), (4, 0.01), (8, 0.1), (8, 0.01)):
        config = {"model": {"width": width}, "lr": rate, "seed": 7}
        rows = [{"accuracy": width * rate, "lr": rate / 2}, {"accuracy": width + rate}]
        write_run(tmp_path / f"w{width}-{rate}", rows, config=config)
    write_run(tmp_path / "z", [{"<loss>": 1.5}], config={"lr": 1})
    runs = load_all(tmp_path)
    summary = runs.summary
    assert list(summary) == [
        *["run", "status", "epochs", "model.width", "lr", "seed", "accuracy", "last lr", "<loss>"]
    ]
    assert rows_of(summary[["run", "epochs", "last lr"]])[1] == ("w4-0.1", 2, 0.05)
    table = summary[:4].pivot(index="model.width", columns="lr", values="accuracy")
    assert table.to_numpy().tolist() == [[4.01, 4.1], [8.01, 8.1]]
    told = runs._repr_html_()
    assert told.count("<tr>") == 6
    assert "<th>&lt;loss&gt;</th>" in told
    assert ">8.1</td>" in told
    assert "seed" not in runs[:4]._repr_html_(), "which is the same in all"


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_folder_without_runs_is_an_error(tmp_path, place):
    (tmp_path / "empty").mkdir()
    for read in (load, load_all):
        with pytest.raises(JournalError, match="name a"):
            read(tmp_path / place)


def test_names_are_sorted_as_people_count():
    names = ["b2", "b10", "b1", "a", "10", "9"]
    assert sorted(names, key=natural) == ["9", "10", "a", "b1", "b2", "b10"]


def test_neither_pytorch_nor_pandas_is_imported_before_it_is_used(tmp_path):
    write_run(tmp_path, ROWS)
    program = (
        "import sys, delve; run = delve.load(sys.argv[1]); delve.load_all(sys.argv[1]);"
        "print([name for name in ('torch', 'pandas', 'click') if name in sys.modules], run)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("[] <run ")


def test_polars_takes_the_same_tables(tmp_path):
    pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    frame = load(write_run(tmp_path, ROWS)).layers
    taken = polars.from_dataframe(frame)
    assert taken.columns == list(frame)
    assert taken["value"].to_list()[:4] == frame["value"].tolist()[:4]


def test_reading_many_runs_takes_at_most_three_times_reading_their_json(tmp_path):
    pytest.importorskip("pandas")
    generator = np.random.default_rng(0)
    names = [f"{mode}-saturation/layer{n}" for mode in ("train", "eval") for n in range(100)]
    for number in range(5):
        rows = [dict(zip(names, generator.random(200).tolist(), strict=True)) for _ in range(100)]
        for row in rows:  # a layer without variance
            row["train-saturation/layer7"] = math.nan
        write_run(tmp_path / f"run{number}", [{"loss": 0.5, **row} for row in rows])

    def parse_all():
        for folder in find_runs(tmp_path):
            for line in (folder / "journal.jsonl").read_bytes().splitlines():
                json.loads(line)

    def cost(what):
        begin = time.process_time()
        what()
        return time.process_time() - begin

    def load_them():
        runs = delve.load_all(tmp_path)
        assert len(runs.layers) == 5 * 100 * 200
        assert len(runs.scalars) == 500

    load_them()  # imports pandas
    ratios = [cost(load_them) / cost(parse_all) for _ in range(5)]
    assert statistics.median(ratios) < 3, ratios
