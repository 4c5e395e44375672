"""
How wide must a layer be?
=========================

A regression with one hidden layer, once 3 and once 32 units wide; then 8 and 256. A narrow layer is
full; a wide one leaves room.
"""

# %%
# The task: five outputs of twenty inputs, none of which is linear.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn

from delve import SaturationTracker

RUNS = Path(tempfile.mkdtemp())
generator = torch.Generator().manual_seed(1)
inputs = torch.randn(640, 20, generator=generator)
targets = torch.sin(inputs @ torch.randn(20, 5, generator=generator))


def record(width, epochs=20):
    """Train a network of one width; returns its table, one row an epoch."""
    torch.manual_seed(width)
    model = nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    run = RUNS / f"width-{width}"
    with SaturationTracker(run, "csv", {"hidden": model[0], "output": model[2]}) as tracker:
        for _ in range(epochs):
            for batch in torch.randperm(len(inputs)).split(64):
                loss = nn.functional.mse_loss(model(inputs[batch]), targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            tracker.add_scalar("loss", loss)
            tracker.add_saturations()
    return pd.read_csv(run / "metrics.csv").set_index("epoch")


tables = {width: record(width) for width in (3, 8, 32, 256)}

# %%
# Saturation of the hidden layer falls with its width, while the number of directions that it uses
# (saturation times width) grows more slowly.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True, layout="constrained")
for axis, layer in zip(axes, ("hidden", "output"), strict=True):
    for width, table in tables.items():
        axis.plot(table[f"train-saturation/{layer}"], label=f"width {width}")
    axis.set(title=f"the {layer} layer", xlabel="epoch", ylim=(0, 1.05))
axes[0].set_ylabel("saturation")
axes[1].legend()

for width, table in tables.items():
    last = table.iloc[-1]
    share = last["train-saturation/hidden"]
    print(
        f"width {width:3}: {share:6.1%} of the hidden layer, {share * width:3.0f} directions, "
        f"loss {last['loss']:.3f}"
    )

# %%
# The output layer has five features whatever the width of the layer before it. What changes its
# saturation is the task, not the room: that is why only layers of one task are compared.
