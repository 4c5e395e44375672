"""Accelerate keeps the first process's state of what is registered, and loads it in every one."""

import json

import numpy as np
import pytest
import torch
from support.ranks import lines_of, run_ranks
from torch import nn

pytest.importorskip("accelerate")

BEGIN = """
from accelerate import Accelerator
def batch(number, count):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(number))
def tracked():
    return SaturationTracker(folder, Saying(), model, stats=["trc", "n"])
"""


def test_a_registered_tracker_counts_each_sample_once_after_a_resume(tmp_path):
    body = """
        for part in range(2):
            accelerator = Accelerator(cpu=True)
            tracker = tracked()
            accelerator.register_for_checkpointing(tracker)
            if part == 1:
                accelerator.load_state(str(folder.parent / "states"))
            model(batch(2 * part + rank, 10 + 20 * rank))
            if part == 0:
                accelerator.save_state(str(folder.parent / "states"))
                tracker.close(RuntimeError("killed"))
            else:
                tracker.add_saturations()
                tracker.close()
    """
    done = run_ranks(tmp_path, BEGIN, body)
    assert done.returncode == 0, done.stderr
    row = json.loads(lines_of(done, "ROW")[0].split(" ", 2)[2])
    torch.manual_seed(0)
    first = nn.Linear(6, 5)
    generators = [torch.Generator().manual_seed(number) for number in range(4)]
    batches = [
        torch.randn(n, 6, generator=g) for n, g in zip((10, 30) * 2, generators, strict=True)
    ]
    rows = (torch.cat(batches) @ first.weight.T + first.bias).detach().double().numpy()
    assert row["train-samples/0"] == 80
    trace = np.cov(rows.T, bias=True).trace()
    assert row["train-covariance-trace/0"] == pytest.approx(trace, rel=1e-6)
