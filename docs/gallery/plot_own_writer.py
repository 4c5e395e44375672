"""
A writer of your own in ten minutes
===================================

Any object with some of a writer's methods takes part in a run. Each method takes only the arguments
that it needs.
"""

# %%
# This one draws the layers as bars in the terminal, and keeps their values for a figure.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from delve import SaturationTracker


class Bars:
    """Draws each layer's saturation."""

    def __init__(self):
        self.history = {}

    def add_scalars(self, value_dict, global_step):
        """The layer metrics of a row; the keys know their mode, statistic and layer."""
        print(f"epoch {global_step}")
        for metric, value in value_dict.items():
            print(f"  {metric.layer:4} {'#' * round(30 * value)} {value:.0%}")
            self.history.setdefault(metric.layer, []).append(value)


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
bars = Bars()
with SaturationTracker(Path(tempfile.mkdtemp()), bars, model) as tracker:
    for _ in range(4):
        for _ in range(20):
            x = torch.randn(64, 12)
            loss = nn.functional.mse_loss(model(x), torch.sin(x[:, :4] * x[:, 4:8]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        tracker.add_saturations()

# %%
# What it kept:

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for layer, values in bars.history.items():
    axis.plot(values, marker="o", label=f"layer {layer}")
axis.set(xlabel="epoch", ylabel="saturation", ylim=(0, 1))
axis.legend()

# %%
# A writer that resumes, survives a dead server and is found by its name takes a few methods more:
# :doc:`/extend/writers` goes through them, with the contract test that checks it.
