"""
Dead units, and what the notes say
==================================

A learning rate that is too large kills units of a ReLU network: they are negative for every input,
and no gradient reaches them again. Saturation alone does not see that; the *notes* do.
"""

# %%
# The same network twice, with a learning rate that works and with one that does not.

import logging
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import delve

logging.getLogger("delve").setLevel(logging.ERROR)
RUNS = Path(tempfile.mkdtemp())
images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


def train(name, learning_rate):
    """Train, and record what every run can afford; returns the accuracy."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9)
    with delve.SaturationTracker(RUNS / name, "csv", model, stats="health") as tracker:
        for _ in range(6):
            for batch in torch.randperm(len(images)).split(64):
                loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            tracker.add_saturations()
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).float().mean())


for name, learning_rate in (("healthy", 0.05), ("too fast", 3.0)):
    print(f"{name}: accuracy {train(name, learning_rate):.1%}")

# %%
# Saturation of both, and the share of dormant units, which never exceed 0 in an epoch:

for name in ("healthy", "too fast"):
    layers = delve.load(RUNS / name).layers
    last = layers[layers["epoch"] == layers["epoch"].max()]
    table = last.pivot_table("value", "layer", "stat", sort=False, observed=True)
    print(name)
    print(table[["saturation", "dormant-share", "mean-share"]].round(3).to_string(), "\n")

# %%
# The notes of each run, as `delve show` and the backends have them. Where nothing is wrong there is
# none.

for name in ("healthy", "too fast"):
    print(name)
    for note in delve.load(RUNS / name).notes:
        print(" -", note)
