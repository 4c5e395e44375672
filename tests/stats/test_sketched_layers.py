"""What is recorded of layers that are gathered by sketch."""

import json
import logging

import pytest
import torch
from torch import nn

from delve import SaturationTracker
from delve.cli import main
from delve.stats import find_stat
from delve.stats.selection import select_stats


class Rows:
    def __init__(self):
        self.rows = []

    def add_scalars(self, value_dict, global_step):
        self.rows.append(dict(value_dict))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 200), nn.ReLU(), nn.Linear(200, 300))


def record(folder, epochs=2, state_after=None, writers=(), **options):
    model, rows = network(), Rows()
    generator = torch.Generator().manual_seed(1)
    with SaturationTracker(folder, [rows, *writers], model, **options) as tracker:
        for _ in range(epochs):
            for _ in range(6):
                model(torch.randn(100, 8, generator=generator) + 1)
            tracker.add_saturations()
    return rows.rows


def test_the_exact_value_lies_between_the_bounds(tmp_path):
    exact = record(tmp_path / "exact", stats=["lsat", "idim", "trc", "n"])
    rows = record(tmp_path / "run", stats=["lsat", "idim", "trc", "n"], sketch=["2"])
    for row, expected in zip(rows, exact, strict=True):
        for stat in ("saturation", "intrinsic-dimensionality"):
            value = row[f"train-{stat}/2"]
            low = row.get(f"train-{stat}-low/2", value)
            high = row.get(f"train-{stat}-high/2", value)
            assert low <= expected[f"train-{stat}/2"] <= high
            assert value == pytest.approx((low + high) / 2)
        trace = expected["train-covariance-trace/2"]
        assert row["train-covariance-trace/2"] == pytest.approx(trace, rel=1e-6)
        assert row["train-samples/2"] == 600
        assert not [key for key in row if key.endswith(("-low/0", "-high/0"))]
    # The first epoch is not sure; the value alone stands where both ends agree.
    assert "train-saturation-low/2" in rows[0]


def test_what_needs_a_spectrum_is_left_out_and_said_once(tmp_path, caplog):
    rows = record(tmp_path, stats=["lsat", "erank", "spectrum", "cov", "embed"], sketch=["2"])
    assert "train-effective-rank/0" in rows[0]
    assert not [key for key in rows[0] if "rank/2" in key or "spectrum-1/2" in key]
    said = [one.message for one in caplog.records if "cannot be told of" in one.message]
    assert len(said) == 1
    assert "erank, spectrum, cov, embed cannot be told of: 2" in said[0]


def test_who_selects_a_statistic_gets_its_bounds_and_cannot_log_one_of_their_name(tmp_path):
    assert [item.stat.name for item in select_stats(["lsat"])] == ["saturation"]
    assert find_stat("saturation-low").bounds == "saturation"
    assert find_stat("intrinsic-dimensionality-high").bounds == "intrinsic-dimensionality"
    rows = record(tmp_path, epochs=1, stats=["idim"], sketch=["2"])
    assert "train-intrinsic-dimensionality-low/2" in rows[0]
    assert "train-saturation-low/2" not in rows[0]


def test_outputs_that_are_not_finite_give_nan(tmp_path, caplog):
    model, rows = network(), Rows()
    with SaturationTracker(tmp_path, rows, model, sketch=["0", "2"]) as tracker:
        model(torch.full((50, 8), float("nan")))
        tracker.add_saturations()
    assert all(value != value for value in rows.rows[0].values())
    assert "outputs were not finite" in caplog.text


def test_a_state_inside_an_epoch_goes_on_with_the_same_bounds(tmp_path):
    whole = record(tmp_path / "whole", epochs=3, sketch=["2"])
    generator = torch.Generator().manual_seed(1)
    model, rows = network(), Rows()
    with SaturationTracker(tmp_path / "run", rows, model, sketch=["2"]) as tracker:
        for _ in range(6):
            model(torch.randn(100, 8, generator=generator) + 1)
        tracker.add_saturations()
        for _ in range(3):
            model(torch.randn(100, 8, generator=generator) + 1)
        state = tracker.state_dict()
    torch.save(state, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    with SaturationTracker(tmp_path / "run", rows, model, initial_epoch=1) as tracker:
        tracker.load_state_dict(state)
        for _ in range(3):
            model(torch.randn(100, 8, generator=generator) + 1)
        tracker.add_saturations()
    assert rows.rows[:2] == whole[:2]


def test_without_a_reset_samples_add_up(tmp_path):
    rows = record(tmp_path, epochs=3, sketch=["2"], stats=["lsat", "n"], reset_covariance=False)
    assert [row["train-samples/2"] for row in rows] == [600, 1200, 1800]
    exact = record(tmp_path / "exact", epochs=3, reset_covariance=False)
    for row, expected in zip(rows, exact, strict=True):
        value = row["train-saturation/2"]
        assert row.get("train-saturation-low/2", value) <= expected["train-saturation/2"]
        assert row.get("train-saturation-high/2", value) >= expected["train-saturation/2"]


def test_delve_show_tells_the_bounds(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    logging.disable(logging.WARNING)
    try:
        (row,) = record(tmp_path, epochs=1, sketch=["2"])
    finally:
        logging.disable(logging.NOTSET)
    low, high = row["train-saturation-low/2"], row["train-saturation-high/2"]
    main(["show", str(tmp_path)], standalone_mode=False)
    shown = " ".join(capsys.readouterr().out.split())
    middle = row["train-saturation/2"]
    assert f"{middle:.1%} ({round(300 * middle)} of 300)?" in shown
    assert f"2 (train) {low:.1%} to {high:.1%}." in shown
    main(["show", str(tmp_path), "--json"], standalone_mode=False)
    (run,) = json.loads(capsys.readouterr().out)
    cell = run["stats"][0]["layers"]["2"]["train"]
    assert (cell["low"], cell["high"]) == (low, high)
    assert "low" not in run["stats"][0]["layers"]["0"]["train"]
