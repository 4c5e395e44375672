"""Trainings in processes that may not have the memory that exact covariances need."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

resource = pytest.importorskip("resource")

PROGRAM = """
import json, logging, resource, sys, torch
from torch import nn
from delve import SaturationTracker
logging.basicConfig(format="SAID %(message)s")
torch.set_num_threads(1)
torch.manual_seed(0)
width, rows, steps, allowed = map(int, sys.argv[2:6])
options = json.loads(sys.argv[6])
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, width))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
def step():
    loss = model(torch.randn(rows, 16) + 1).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
class Saying:
    def add_scalars(self, value_dict, global_step):
        print("ROW", json.dumps(value_dict), flush=True)
step()
torch.linalg.eigvalsh(torch.randn(300, 300, dtype=torch.float64))  # what libraries take at first
torch.randn(600, 600, dtype=torch.float64) @ torch.randn(600, 600, dtype=torch.float64)
with SaturationTracker(sys.argv[1], [Saying()], model, stats=["lsat", "n"], **options) as tracker:
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + allowed, used + allowed))
    for epoch in range(2):
        for _ in range(steps):
            step()
        tracker.add_saturations()
print("ENDED")
"""


def train(tmp_path, width, rows, steps, allowed, **options):
    done = subprocess.run(
        [
            sys.executable,
            *("-c", textwrap.dedent(PROGRAM), str(tmp_path / "run")),
            *map(str, (width, rows, steps, allowed)),
            json.dumps(options),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ENDED" in done.stdout
    rows = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("ROW")]
    said = [line for line in done.stderr.splitlines() if line.startswith("SAID")]
    return rows, said


@pytest.mark.parametrize("width", [6000, 32_000, 128_000])
def test_half_of_what_exact_needs_is_enough_by_default(tmp_path, width):
    # A matrix alone takes 8 bytes an element; for a head of 128k that is 122 GiB.
    allowed = min(8 * width**2, 2 * 2**30) // 2
    rows, said = train(tmp_path, width, 50, 4, allowed)
    assert len(rows) == 2
    for row in rows:
        for layer in ("0", "2"):
            assert 0 < row[f"train-saturation/{layer}"] <= 1
            assert row[f"train-samples/{layer}"] == 200
    assert sum("gathered by sketch, as memory_limit" in line for line in said) == 1


def test_a_layer_whose_memory_is_refused_goes_on_as_a_sketch(tmp_path):
    width, rows = 6000, 7000  # whose matrix takes 275 MiB
    seen, said = train(tmp_path, width, 500, rows // 500, 230 * 2**20, exact=["2"])
    assert len(seen) == 2
    for row in seen:
        assert row["train-samples/0"] == rows
        assert 0 < row["train-saturation/2"] < 0.1
    refused = [line for line in said if "no memory left for the covariance of layer 2" in line]
    assert len(refused) == 1
    assert seen[1]["train-samples/2"] == rows
    assert not [line for line in said if "cannot be turned into samples" in line]


def test_a_matrix_that_cannot_be_decomposed_is_told_of_by_its_bounds(tmp_path):
    width = 3000  # a matrix takes 69 MiB, and its decomposition twice as much
    rows, said = train(tmp_path, width, 1000, 4, 205 * 2**20, exact=["2"])
    assert len(rows) == 2
    for row in rows:
        assert row["train-samples/2"] == 4000
        assert 0 < row["train-saturation/2"] < 0.1
    assert not [line for line in said if "cannot be turned into samples" in line]
