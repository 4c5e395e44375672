"""The demos of delve's documentation, small."""

import csv
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, folder, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_saturation_falls_with_the_width_of_a_regression(tmp_path):
    shown = run("extract_saturation.py", tmp_path, "--widths", 4, 256, "--epochs", 8)
    tables = [
        rows(tmp_path / "runs" / "regression" / f"width-{w}" / "metrics.csv") for w in (4, 256)
    ]
    assert [row["epoch"] for row in tables[0]] == [str(epoch) for epoch in range(8)]
    narrow, wide = (float(table[-1]["train-saturation/linear1"]) for table in tables)
    assert narrow > 2 * wide
    assert f"{narrow:.2f}" in shown
    assert {"eval-saturation/linear1", "eval-saturation/linear2", "loss"} <= set(tables[0][0])


def test_vgg16_on_images_of_cifars_shape(tmp_path):
    shown = run("cifar10_vgg16.py", tmp_path, "--images", 48, "--epochs", 2, "--batch-size", 16)
    assert "images of the same shape are generated" in shown
    folder = tmp_path / "runs" / "cifar10_vgg16"
    table = rows(folder / "metrics.csv")
    layers = [name for name in table[-1] if name.startswith("train-saturation/")]
    assert len(layers) == 15  # 13 convolutions and 2 linear layers
    assert all(0 < float(table[-1][name]) <= 1 for name in layers)
    assert (folder / "plots" / "train-saturation" / "epoch00001.png").exists()
    assert (folder / "plots" / "train-saturation" / "heatmap.png").exists()
