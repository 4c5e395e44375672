import sys

import numpy as np
import pytest
from delve_plot.figures import rgba_pixels, saturation_figure
from delve_wandb import WandbWriter
from delve_wandb.figures import Pictures
from PIL import Image
from support.recorded_runs import journal_rows, record
from support.wandb_files import read_run_file, run_files
from torch import nn

from delve import RunInfo, SaturationTracker
from delve.errors import WriterConfigurationError
from delve.records import Metric

FIGURES = {"writer_args": {"figures": True}}


def pictures(folder):
    """The files of the pictures that the rows name."""
    (file,) = run_files(folder)
    named = [row.get("figures/saturation.path") for row in read_run_file(file).rows.values()]
    return [file.parent / "files" / name for name in named if name]


def test_a_picture_goes_with_the_epoch(tmp_path):
    record(tmp_path, "wandb", [0], **FIGURES)
    (picture,) = pictures(tmp_path)
    saturation = {Metric.parse(name): value for name, value in journal_rows(tmp_path)[0].items()}
    saturation = {m: value for m, value in saturation.items() if m and m.stat == "saturation"}
    drawn = saturation_figure(saturation, ("0", "2"), epoch=0)
    with Image.open(picture) as image:
        np.testing.assert_array_equal(np.asarray(image), rgba_pixels(drawn))


def test_a_run_without_images_has_none(tmp_path):
    record(tmp_path, "wandb", [0], nosave=True, **FIGURES)
    assert pictures(tmp_path) == []


def test_short_epochs_go_without():
    drawn = Pictures()
    row = {Metric("train", "saturation", layer): 0.5 for layer in ("a", "b")}
    assert list(drawn.of_epoch(row, ["a", "b"], 0)) == ["figures/saturation"]
    assert drawn.of_epoch(row, ["a", "b"], 1) == {}


def test_a_run_without_saturation_has_none(tmp_path):
    row = {Metric("train", "covariance-trace", "a"): 1.0, "loss": 0.5}
    assert Pictures().of_epoch(row, ["a"], 0) == {}
    with SaturationTracker(tmp_path, "wandb", nn.Linear(2, 2), **FIGURES) as tracker:
        tracker.add_scalar("loss", 1.0)
        tracker.save()
    assert pictures(tmp_path) == []


def test_without_delve_plot_figures_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "delve_plot", None)
    for name in ("delve_plot.figures", "delve_wandb.figures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    writer = WandbWriter(tmp_path, figures=True)
    run = RunInfo(tmp_path, "run", 0)
    with pytest.raises(WriterConfigurationError, match=r"pip install \./delve_plugins/delve-plot"):
        writer.start(run)
    writer.close(None, run)
