"""The examples for trainers: real data, offline, in less than a minute."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.trainer_backends import csv_steps

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("example", "package", "run", "rows"),
    [
        (
            "transformers_text.py",
            "delve_transformers",
            "runs/text/delve",
            [20, 40, 60, 75],
        ),
        ("accelerate_digits.py", "delve_accelerate", "runs/accelerate/delve", list(range(6))),
        ("keras_digits.py", "delve_keras", "runs/keras/delve", list(range(5))),
    ],
)
def test_an_example_records_its_rows(example, package, run, rows, tmp_path):
    pytest.importorskip(package)
    pytest.importorskip("sklearn")
    subprocess.run([sys.executable, str(EXAMPLES / example)], cwd=tmp_path, check=True, timeout=300)
    held = csv_steps(tmp_path / run)
    assert list(held) == rows
    last = held[rows[-1]]
    assert {name.partition("/")[0] for name in last} >= {"train-saturation", "eval-saturation"}
    assert last.get("accuracy", last.get("val_accuracy", 1)) > 0.8
