"""
Resume after a kill
===================

A training is killed in the middle of an epoch, without any warning, and started again from its last
checkpoint. Every backend then holds each epoch once, as if nothing had happened.
"""

# %%
# The training, as a program of its own: it takes the epoch to begin with, and one to die in.

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

FOLDER = Path(tempfile.mkdtemp())
PROGRAM = """
import os, signal, sys
import torch
from torch import nn
from delve import SaturationTracker

begin, die_in = int(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
if begin:
    model.load_state_dict(torch.load("checkpoint.pt", weights_only=True))

tracker = SaturationTracker("run", ["csv", "npy", "tensorboard"], model, initial_epoch=begin)
for epoch in range(begin, 6):
    batches = torch.Generator().manual_seed(epoch)
    for batch in range(10):
        x = torch.randn(32, 8, generator=batches)
        loss = nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch == die_in and batch == 5:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
    tracker.add_scalar("loss", loss)
    tracker.add_saturations()
    torch.save(model.state_dict(), "checkpoint.pt")
tracker.close()
"""


def train(begin, die_in=-1):
    """Run it; returns its exit status."""
    command = [sys.executable, "-c", PROGRAM, str(begin), str(die_in)]
    return subprocess.run(command, cwd=FOLDER, check=False).returncode


print("the first process ended with", train(0, die_in=4))

# %%
# Epochs 0 to 3 are whole; the checkpoint is of the end of epoch 3. So the training goes on at 4:

print("the second process ended with", train(4))
resumed = pd.read_csv(FOLDER / "run/metrics.csv").set_index("epoch")
print(resumed.round(4).to_string())

# %%
# The same training without a kill gives the same table:

(FOLDER / "run").rename(FOLDER / "resumed")
train(0)
whole = pd.read_csv(FOLDER / "run/metrics.csv").set_index("epoch")
print("equal to a run that was not killed:", resumed.equals(whole))
