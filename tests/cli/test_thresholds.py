"""Saturations at several thresholds as a table."""

import numpy as np
import pytest
from support.journals import saturations, write_run

ROW = {"loss": 0.25, **saturations({"conv": 0.5, "fc": 1.0})}


@pytest.fixture
def stored(tmp_path):
    """A run with covariances of two epochs."""
    run = write_run(tmp_path / "run", [ROW, ROW])
    folder = run / "npy" / "train-covariance-matrix" / "fc"
    folder.mkdir(parents=True)
    np.save(folder / "epoch00000.npy", np.diag([1.0, 1.0, 1.0, 1.0]))
    np.save(folder / "epoch00001.npy", np.diag([90.0, 6.0, 3.0, 1.0]))
    return run


def test_recompute_prints_a_row_for_each_layer_of_the_last_epoch(delve, stored):
    result = delve("recompute", stored, "--threshold", "0.95", "--threshold", "0.5")
    assert result.stdout.splitlines() == [
        "saturation (and intrinsic dimensionality) at epoch 1",
        "",
        "      at 0.95     at 0.5",
        "        train      train",
        "fc  50.0% (2)  25.0% (1)",
    ]
    assert "100.0%" in delve("recompute", stored, "--threshold", "0.95", "--epoch", "0").stdout


def test_thresholds_that_do_not_fit_beside_each_other_stand_below(delve, stored):
    options = [word for n in range(1, 8) for word in ("--threshold", f"0.{n}")]
    _, *lines = delve("recompute", stored, *options, columns=40).stdout.splitlines()
    assert max(map(len, lines)) <= 40
    assert [line.count("%") for line in lines if line.startswith("fc")] == [3, 3, 1]


def test_recompute_shows_and_marks_layers_as_show_does(delve, tmp_path):
    row = saturations({"a": 0.5, "b": 0.5, "c": 0.5})
    run = write_run(tmp_path, [row], few_samples={"train": ["b", "elsewhere"]})
    for layer, diagonal in {"a": [np.nan] * 2, "b": [3.0, 1.0], "c": [1.0, 1.0]}.items():
        folder = run / "npy" / "train-covariance-matrix" / layer
        folder.mkdir(parents=True)
        np.save(folder / "epoch00000.npy", np.diag(diagonal))
    lines = delve("recompute", run, "--threshold", "0.75").stdout.splitlines()
    assert lines[2:] == [
        "       at 0.75",
        "         train",
        "a         nan",
        "b   50.0% (1)!",
        "c  100.0% (2)",
        "",
        "! fewer samples than features, so saturation and intrinsic dimensionality are",
        "  biased low, in: b.",
    ]
