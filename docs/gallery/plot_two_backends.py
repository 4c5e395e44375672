"""
Two backends, and a third one afterwards
========================================

A run records to two backends at once. Later somebody wants it in a third: the run's own journal
holds all that it takes.
"""

# %%
# The run:

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from delve import SaturationTracker
from delve.cli import main as delve

RUN = Path(tempfile.mkdtemp()) / "run"
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
with SaturationTracker(RUN, ["csv", "npy"], model) as tracker:
    for _ in range(12):
        for _ in range(10):
            x = torch.randn(64, 10)
            loss = nn.functional.mse_loss(model(x)[:, 0], (x[:, 0] * x[:, 1]).sin())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        tracker.add_scalar("loss", loss)
        tracker.add_saturations()

# %%
# Afterwards, on the command line: ``delve export run --to tensorboard``.

print(CliRunner().invoke(delve, ["export", str(RUN), "--to", "tensorboard"]).output)

# %%
# Both hold the same numbers. TensorBoard has a run for each mode, and tags that keep the layers in
# forward order.

events = EventAccumulator(str(RUN / "tensorboard" / "train"))
events.Reload()
print(events.Tags()["scalars"])
from_tensorboard = [event.value for event in events.Scalars("saturation/001.2")]
from_csv = pd.read_csv(RUN / "metrics.csv")["train-saturation/2"]
differences = [abs(a - b) for a, b in zip(from_tensorboard, from_csv, strict=True)]
print("largest difference:", max(differences))

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(from_csv, label="csv", linewidth=4, alpha=0.4)
axis.plot(from_tensorboard, label="tensorboard", linestyle="--")
axis.set(xlabel="epoch", ylabel="saturation of layer 2")
axis.legend()
