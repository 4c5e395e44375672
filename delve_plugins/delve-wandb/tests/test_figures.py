import numpy as np
import pytest
from delve_wandb.figures import Pictures, saturation_picture
from support.recorded_runs import record
from support.wandb_files import read_run_file, run_files
from torch import nn

from delve import SaturationTracker
from delve.records import Metric


def saturations(layers, **modes):
    return {
        Metric(mode, "saturation", layer): value
        for mode, value in modes.items()
        for layer in layers
    }


def pictures(folder):
    """The files of the pictures that the rows name."""
    (file,) = run_files(folder)
    named = [row.get("figures/saturation.path") for row in read_run_file(file).rows.values()]
    return [file.parent / "files" / name for name in named if name]


def record_one(folder, **options):
    record(folder, "wandb", range(1), writer_args={"figures": True}, **options)


def test_a_picture_goes_with_the_epoch(tmp_path):
    record_one(tmp_path)
    (picture,) = pictures(tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_run_without_images_has_none(tmp_path):
    record_one(tmp_path, nosave=True)
    assert pictures(tmp_path) == []


def test_short_epochs_go_without(tmp_path):
    drawn = Pictures()
    row = saturations(["a", "b"], train=0.5)
    assert list(drawn.of_epoch(row, ["a", "b"], 0)) == ["figures/saturation"]
    assert drawn.of_epoch(row, ["a", "b"], 1) == {}


def test_a_run_without_saturation_has_none(tmp_path):
    assert saturation_picture({Metric("train", "trace", "a"): 1.0}, ["a"], 0) is None
    with SaturationTracker(
        tmp_path, "wandb", nn.Linear(2, 2), writer_args={"figures": True}
    ) as tracker:
        tracker.add_scalar("loss", 1.0)
        tracker.save()
    assert pictures(tmp_path) == []


@pytest.mark.parametrize("count", [1, 5, 200])
def test_it_grows_with_the_layers(count):
    layers = [f"net.block{i}.conv" for i in range(count)]
    pixels = saturation_picture(saturations(layers, train=0.5, eval=float("nan")), layers, 3)
    assert pixels.dtype == np.uint8
    assert pixels.shape[0] == pytest.approx(100 * (1.5 + 0.17 * count), abs=2)
    blue = (pixels[..., 2].astype(int) - pixels[..., 0]) > 100
    assert blue.any()
