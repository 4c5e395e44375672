"""
Training on two processes
=========================

Each process of a distributed training sees its own part of the data. Delve brings their samples
together: what is recorded is what one process would have recorded.
"""

# %%
# The program, started as ``torchrun`` does. Every process makes the tracker and calls
# ``add_saturations``; the first one writes.

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from delve import SaturationTracker

FOLDER = Path(tempfile.mkdtemp())
PROGRAM = """
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from delve import SaturationTracker

dist.init_process_group("gloo")
rank, count = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = DistributedDataParallel(nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3)))
data = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
with SaturationTracker("two", "csv", model, stats=["lsat", "trc", "n"]) as tracker:
    for batch in data[rank::count].split(25):
        model(batch).square().sum().backward()
    tracker.add_saturations()
dist.destroy_process_group()
"""
(FOLDER / "program.py").write_text(PROGRAM)
launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "program.py"]
subprocess.run([sys.executable, *launch], cwd=FOLDER, check=True, capture_output=True)

# %%
# The same samples in this process:

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
data = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
with SaturationTracker(FOLDER / "one", "csv", model, stats=["lsat", "trc", "n"]) as tracker:
    model(data)
    tracker.add_saturations()

tables = {name: pd.read_csv(FOLDER / name / "metrics.csv").iloc[0] for name in ("two", "one")}
print(pd.DataFrame(tables).to_string())
