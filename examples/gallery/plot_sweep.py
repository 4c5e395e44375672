"""
A sweep compared
================

Twelve runs of four widths and three learning rates, each in a folder of its own. One call reads
them all; the command shows them in a row each.
"""

# %%
# The sweep:

import logging
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from click.testing import CliRunner
from delve_plot import rgba_pixels
from sklearn.datasets import load_digits
from torch import nn

import delve
from delve.cli import main as command

logging.getLogger("delve").setLevel(logging.ERROR)
SWEEP = Path(tempfile.mkdtemp()) / "sweep"
images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)

for width in (8, 32, 128, 256):
    for rate in (1e-4, 1e-3, 1e-2):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        config = {"width": width, "lr": rate}
        run = SWEEP / f"width-{width}-lr-{rate:g}"
        with delve.SaturationTracker(run, "csv", model, config=config) as tracker:
            for _ in range(5):
                for batch in torch.randperm(1500).split(50):
                    loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                with torch.no_grad():
                    right = model.eval()(images[1500:]).argmax(1) == labels[1500:]
                model.train()
                tracker.add_scalar("accuracy", right.float().mean())
                tracker.add_saturations()

# %%
# On the command line, ``delve show sweep --sort accuracy``:

print(CliRunner().invoke(command, ["show", str(SWEEP), "--sort", "accuracy"]).output)

# %%
# ``delve plot sweep --by width`` draws them in one figure, a panel for each width and a line for
# each learning rate. From Python it is a figure of Matplotlib that pyplot does not know of:

compared = delve.load_all(SWEEP).plot("lsat_train", by="width")
pixels = rgba_pixels(compared, dpi=100)
plt.figure(figsize=compared.get_size_inches(), dpi=100).figimage(pixels)

# %%
# In Python, as tidy tables. What width is worth having?

figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for run in delve.load_all(SWEEP):
    layers = run.layers
    hidden = layers[(layers["layer"] == "0") & (layers["mode"] == "train")]["value"].iloc[-1]
    accuracies = run.scalars
    accuracy = accuracies[accuracies["name"] == "accuracy"]["value"].iloc[-1]
    axis.scatter(hidden, accuracy, s=20 + run.config["width"], alpha=0.6, color="tab:blue")
axis.set(xlabel="saturation of the hidden layer", ylabel="accuracy", title="size: width")

# %%
# Narrow layers are full and hold accuracy back; from 128 units on width adds room that is not used.
