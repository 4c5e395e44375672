"""The spectrum of each layer as a histogram of logarithms."""

import itertools

import numpy as np
import pytest
import wandb
from wandb_files import read_run_file, run_files
from wandb_users_run import users_run

from delve import load
from delve.testing import journal_rows, train

OPTIONS = {
    "writer_args": {"wandb": {"log_spectrum": True}},
    "stats": ["lsat", "spectrum"],
}


@pytest.mark.parametrize("owner", ["Delve's", "the user's"])
def test_each_layer_has_one_in_each_epoch(tmp_path, owner, delves_warnings):
    mine = users_run(tmp_path) if owner == "the user's" else None
    train(tmp_path / "run", ["wandb", "npy"], range(2), **OPTIONS)
    if mine:
        mine.finish()
    wandb.teardown()
    (file,) = run_files(tmp_path / ("mine" if mine else "run"))
    rows = [row for row in read_run_file(file).rows.values() if len(row) > 2]
    assert len(rows) == 2
    run = load(tmp_path / "run")
    for epoch, row in enumerate(rows):
        for mode, layer in itertools.product(("train", "eval"), "02"):
            spectrum = run.array(f"spectrum_{mode}", layer, epoch)
            assert_histogram(row, f"{mode}-log10-spectrum/{layer}", spectrum)
    assert delves_warnings() == []


def assert_histogram(row, name, spectrum):
    """W&B stores the parts of a value of its own under keys of their own."""
    counts, edges = np.histogram(np.log10(spectrum[spectrum > 0]), bins=64)
    assert row[f"{name}._type"] == "histogram"
    assert row[f"{name}.values"] == counts.tolist()
    np.testing.assert_allclose(row[f"{name}.bins"], edges)


def test_none_without_the_option_and_none_of_what_is_not_computed(tmp_path, caplog):
    train(tmp_path / "a", "wandb", range(1), stats=["lsat", "spectrum"])
    assert "no selected writer stores arrays" in caplog.text
    caplog.clear()
    train(tmp_path / "b", "wandb", range(1), writer_args={"log_spectrum": True})
    assert caplog.text.count("log_spectrum=True has nothing to show") == 1
    for folder in (tmp_path / "a", tmp_path / "b"):
        (file,) = run_files(folder)
        (row,) = read_run_file(file).rows.values()
        assert row.keys() == {"epoch", *journal_rows(folder)[0]}
