"""
An LSTM: the last step, or every step
=====================================

A recurrent layer gives a series. ``timeseries_method`` says what a sample is: the last step of each
series (the default), every step, the first one, or the mean.
"""

# %%
# Which of two frequencies is a noisy wave made of? The last state answers, so the last step is
# where the layer has to tell the classes apart.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn

from delve import SaturationTracker

RUNS = Path(tempfile.mkdtemp())
generator = torch.Generator().manual_seed(0)
labels = torch.randint(2, (400,), generator=generator)
time = torch.linspace(0, 6.28, 24)
phases = 6.28 * torch.rand(400, 1, generator=generator)
waves = torch.sin((2 + labels[:, None]) * time + phases)
waves = (waves + 0.3 * torch.randn(400, 24, generator=generator))[..., None]


class Reader(nn.Module):
    """An LSTM, and a linear layer on its last step."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 32, batch_first=True)
        self.head = nn.Linear(32, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def record(method):
    """Train with one way to take samples; returns the saturation of the LSTM by epoch."""
    torch.manual_seed(0)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with SaturationTracker(
        RUNS / method, "csv", model, timeseries_method=method, stats=["lsat", "n"]
    ) as tracker:
        for _ in range(15):
            for batch in torch.randperm(400).split(50):
                loss = nn.functional.cross_entropy(model(waves[batch]), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            tracker.add_saturations()
    return pd.read_csv(RUNS / method / "metrics.csv")


figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for method in ("last_timestep", "timestepwise", "mean"):
    table = record(method)
    axis.plot(table["train-saturation/lstm"], label=method)
    print(
        f"{method:14}: {table['train-samples/lstm'].iloc[-1]:5.0f} samples an epoch, "
        f"saturation {table['train-saturation/lstm'].iloc[-1]:.1%}"
    )
axis.set(xlabel="epoch", ylabel="saturation of the LSTM")
axis.legend()

# %%
# The training is the same in all three; only the question differs. ``timestepwise`` asks what room
# the layer uses on its way, ``last_timestep`` what arrives.
