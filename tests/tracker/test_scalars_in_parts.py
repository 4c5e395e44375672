"""Scalars of which each process holds a part."""

import os
import subprocess
import sys
import textwrap

PROGRAM = """
import math, os, sys
import torch, torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from delve import SaturationTracker
from delve.errors import ArgumentError

dist.init_process_group("gloo")
mesh, rank = init_device_mesh("cpu", (2,)), dist.get_rank()
refused, row = [], {}

class Keeping:
    def add_scalar(self, name, value, epoch):
        row[name] = value

model = nn.Linear(3, 2)
weight = torch.arange(12.0).reshape(4, 3) / 10
norm = distribute_tensor(weight, mesh, [Shard(0)]).norm()
parts = {
    "norm": norm,
    "sum": DTensor.from_local(torch.tensor(rank + 1.0), mesh, [Partial()]),
    "largest": DTensor.from_local(torch.tensor(rank + 1.0), mesh, [Partial("max")]),
    "one": DTensor.from_local(torch.ones(1 - rank), mesh, [Shard(0)], shape=(1,), stride=(1,)),
}
with SaturationTracker(sys.argv[1], Keeping(), model) as tracker:
    for name, value in parts.items():
        try:
            tracker.add_scalar(name, value)
        except ArgumentError as error:
            refused.append(f"{name!r}" in str(error) and "full_tensor()" in str(error))
        tracker.add_scalar(name, value.full_tensor())
    tracker.add_scalar("whole", DTensor.from_local(torch.tensor(7.0), mesh, [Replicate()]))
    tracker.save()
assert refused == [True] * len(parts), refused
if rank == 0:
    assert math.isclose(row.pop("norm"), math.sqrt(506) / 10, rel_tol=1e-6)
    assert row == {"sum": 3.0, "largest": 2.0, "one": 1.0, "whole": 7.0}, row
    part = float(norm.to_local())
    print("PART", round(part, 2), "WHOLE", round(math.sqrt(506) / 10, 2), flush=True)
dist.barrier()
dist.destroy_process_group()
os._exit(0)  # torch's own threads may abort a process that takes its time to end
"""


def test_a_part_of_a_distributed_tensor_is_refused_and_the_whole_named(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [
        *(sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", "2", str(program), str(tmp_path / "run")),
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The squares of 0 to .5 come to .55, those of 0 to 1.1 to 5.06.
    assert "PART 0.74 WHOLE 2.25" in done.stdout
