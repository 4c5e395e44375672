import importlib
import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
from matplotlib.image import imread

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("pca_projection")


def test_the_eigenspace_holds_the_accuracy_and_random_directions_do_not(example, tmp_path, capsys):
    example.main(seeds=1, epochs=2, run=tmp_path)

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:14])) <= 80
    rows = [re.findall(r"[\d.]+(?= %)", line) for line in lines if " to " in line and "%" in line]
    assert [line.split()[0] for line in lines[4:14]] == (
        ["90", "95", "98", "99", "99.5", "99.8", "99.9", "99.95", "99.99", "all"]
    )
    assert len(rows) == 10
    directions, eigenspace, random = ([float(row[-column]) for row in rows] for column in (3, 2, 1))
    unprojected = eigenspace[-1]
    assert unprojected > 80
    assert directions == sorted(directions)
    assert directions[-1] == 100
    assert random[-1] == unprojected
    assert eigenspace[-2] > unprojected - 2
    assert eigenspace[3] > unprojected - 10
    assert max(random[:4]) < 30
    assert imread(tmp_path / "accuracy.png").shape == (630, 1050, 4)
