import sys

import numpy as np
import pytest
import wandb
from delve_plot.figures import rgba_pixels, saturation_figure
from delve_wandb import WandbWriter
from delve_wandb.figures import Figures
from PIL import Image
from torch import nn
from wandb_files import read_run_file, run_files
from wandb_users_run import delves_rows, users_run

from delve import RunInfo, SaturationTracker
from delve.delivery.export import export
from delve.errors import WriterConfigurationError
from delve.records import Metric
from delve.testing import journal_rows, train

FIGURES = {"writer_args": {"figures": True}}


def figures(folder):
    """The files of the figures that the rows name."""
    (file,) = run_files(folder)
    named = [row.get("figures/saturation.path") for row in read_run_file(file).rows.values()]
    return [file.parent / "files" / name for name in named if name]


def test_a_figure_goes_with_the_epoch(tmp_path):
    train(tmp_path, "wandb", [0], **FIGURES)
    (figure,) = figures(tmp_path)
    saturation = {Metric.parse(name): value for name, value in journal_rows(tmp_path)[0].items()}
    saturation = {m: value for m, value in saturation.items() if m and m.stat == "saturation"}
    drawn = saturation_figure(saturation, ("0", "2"), epoch=0)
    with Image.open(figure) as image:
        np.testing.assert_array_equal(np.asarray(image), rgba_pixels(drawn))


@pytest.mark.parametrize("replayed", [False, True], ids=["recorded", "replayed"])
def test_the_last_epoch_is_in_the_summary(tmp_path, replayed):
    if replayed:
        train(tmp_path, "print", range(3))
        (outcome,) = export(tmp_path, "wandb", {"figures": True})
        assert outcome.error is None
    else:
        train(tmp_path, "wandb", range(3), **FIGURES)
    assert len(figures(tmp_path)) == (0 if replayed else 1)  # epochs were short
    (file,) = run_files(tmp_path)
    told = read_run_file(file).summary["figures/saturation"]
    rows = {Metric.parse(name): value for name, value in journal_rows(tmp_path)[2].items()}
    saturation = {m: value for m, value in rows.items() if m and m.stat == "saturation"}
    with Image.open(file.parent / "files" / told["path"]) as image:
        drawn = saturation_figure(saturation, ("0", "2"), epoch=2)
        np.testing.assert_array_equal(np.asarray(image), rgba_pixels(drawn))


def test_in_a_run_of_the_users_it_is_delves(tmp_path):
    mine = users_run(tmp_path)
    train(tmp_path / "run", "wandb", range(2), **FIGURES)
    mine.finish()
    wandb.teardown()
    (file,) = run_files(tmp_path / "mine")
    assert "delve/figures/saturation" in read_run_file(file).summary


def test_a_run_without_images_has_none(tmp_path):
    train(tmp_path, "wandb", [0], nosave=True, **FIGURES)
    assert figures(tmp_path) == []


def test_short_epochs_go_without():
    drawn = Figures()
    row = {Metric("train", "saturation", layer): 0.5 for layer in ("a", "b")}
    assert list(drawn.of_epoch(row, ["a", "b"], 0)) == ["figures/saturation"]
    assert drawn.of_epoch(row, ["a", "b"], 1) == {}


def test_a_run_without_saturation_has_none(tmp_path):
    row = {Metric("train", "covariance-trace", "a"): 1.0, "loss": 0.5}
    assert Figures().of_epoch(row, ["a"], 0) == {}
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2), **FIGURES) as tracker:
        tracker.add_scalar("loss", 1.0)
        tracker.save()
    assert figures(tmp_path) == []


def test_without_delve_plot_figures_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "delve_plot", None)
    for name in ("delve_plot.figures", "delve_wandb.figures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    writer = WandbWriter(tmp_path, figures=True)
    run = RunInfo(tmp_path, "run", 0)
    with pytest.raises(WriterConfigurationError, match=r"pip install \./delve_plugins/delve-plot"):
        writer.start(run)
    writer.close(None, run)


class Broken:
    """A figure that fails on its way to W&B, once it is drawn."""

    def __init__(self, *_, **__):
        raise PermissionError("the disk is full")


def unusable_figure():
    figure = wandb.Image(np.zeros((4, 4, 3), dtype=np.uint8))
    figure._path = "/nowhere/to/be/found.png"  # a cleared temporary folder
    return figure


@pytest.mark.parametrize("where", ["drawing", "encoding", "logging"])
@pytest.mark.parametrize("owner", ["Delve's", "the user's"])
def test_a_figure_that_fails_costs_no_number(tmp_path, monkeypatch, caplog, where, owner):
    def fail(*_, **__):
        raise RuntimeError("latex could not be found")

    if where == "drawing":
        monkeypatch.setattr("delve_plot.paced.saturation_figure", fail)
    elif where == "encoding":
        monkeypatch.setattr(wandb, "Image", Broken)
    else:
        monkeypatch.setattr(
            Figures, "of_epoch", lambda *_: {"figures/saturation": unusable_figure()}
        )
    mine = users_run(tmp_path) if owner == "the user's" else None
    train(tmp_path / "run", "wandb", range(3), **FIGURES)
    if mine:
        mine.finish()
    wandb.teardown()
    (file,) = run_files(tmp_path / ("mine" if mine else "run"))
    rows = read_run_file(file).rows.values()
    axis = "delve/epoch" if mine else "epoch"
    assert delves_rows(rows, axis=axis) == journal_rows(tmp_path / "run")
    said = "W&B gets no figure" if where == "logging" else "saturation cannot be drawn"
    assert caplog.text.count(said) == 1
    assert "failed at epoch" not in caplog.text
