"""
A spectrum while it trains
==========================

Saturation is one number of a whole spectrum. ``stats=["spectrum"]`` keeps all eigenvalues.
"""

# %%
# A network on handwritten digits, with the eigenvalues of each epoch in files of NumPy.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from delve import SaturationTracker

RUN = Path(tempfile.mkdtemp()) / "run"
torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
with SaturationTracker(RUN, ["npy"], model, stats=["lsat", "spectrum"]) as tracker:
    for _ in range(16):
        for batch in torch.randperm(len(images)).split(64):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        tracker.add_saturations()

# %%
# One array an epoch, the largest eigenvalue first:

files = sorted((RUN / "npy/train-spectrum/2").glob("*.npy"))
figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
colors = plt.get_cmap("viridis")(np.linspace(0, 1, len(files)))
for number, (file, color) in enumerate(zip(files, colors, strict=True)):
    values = np.load(file)
    label = f"epoch {number}" if number in (0, len(files) - 1) else None
    axis.plot(np.arange(1, len(values) + 1), values / values.sum(), color=color, label=label)
axis.set(xlabel="rank", ylabel="share of the variance", yscale="log", ylim=(1e-6, 1))
axis.legend()

# %%
# The leading directions grow while the network learns its ten classes, and the tail stays behind:
# that is why saturation falls.
