"""
One massive channel: plain and standardised
===========================================

Multiply one unit of a ReLU network by 100, and divide its outgoing weights by 100. The function is
the same to the last digit that matters, but the variance of the layer is now that of one unit.
"""

# %%
# A trained network, and its rescaled twin.

import copy
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import nn

from delve import SaturationTracker

RUNS = Path(tempfile.mkdtemp())
torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
model = nn.Sequential(
    nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for _ in range(8):
    for batch in torch.randperm(len(images)).split(64):
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

twin = copy.deepcopy(model)
with torch.no_grad():
    for layer, following in ((twin[0], twin[2]), (twin[2], twin[4])):
        layer.weight[3] *= 100
        layer.bias[3] *= 100
        following.weight[:, 3] /= 100
    print("largest difference of the outputs:", float((model(images) - twin(images)).abs().max()))

# %%
# Saturation (``lsat``) falls with the rescaling; that of the correlation matrix (``csat``) does
# not. ``top`` says why: it names the share of the largest eigenvalue, and the feature.

rows = {}
for name, network in (("trained", model), ("rescaled", twin)):
    with SaturationTracker(
        RUNS / name, "csv", network.eval(), stats=["lsat", "csat", "top"]
    ) as tracker:
        network(images)
        tracker.add_saturations()
    rows[name] = pd.read_csv(RUNS / name / "metrics.csv").iloc[0]

figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for axis, stat in zip(axes, ("saturation", "standardised-saturation"), strict=True):
    for place, (name, row) in enumerate(rows.items()):
        values = [row[f"eval-{stat}/{layer}"] for layer in "024"]
        axis.bar([x + 0.4 * place for x in range(3)], values, width=0.38, label=name)
    axis.set(title=stat, xticks=[0.2, 1.2, 2.2], xticklabels=["layer 0", "layer 2", "layer 4"])
axes[0].set_ylabel("share of the directions")
axes[0].legend()

for layer in "02":
    row = rows["rescaled"]
    print(f"layer {layer}: feature {row[f'eval-leading-feature/{layer}']:.0f} has "
          f"{row[f'eval-leading-feature-share/{layer}']:.1%} of the variance")  # fmt: skip

# %%
# In the correlation matrix every feature counts alike, also one that hardly varies: noise is
# counted in full there. So both are worth a look, and neither alone.
