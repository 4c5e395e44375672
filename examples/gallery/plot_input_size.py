"""
Input size, tails, and the border layer
=======================================

A convolutional network whose receptive field outgrows the image early has last layers that add
nothing: a *tail*. Probes show it; the *border layer* tells before training.
"""

# %%
# A small VGG without pooling between its eight convolutions, on the digits as they are, 8 pixels
# wide, and enlarged to 28.

import logging
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

import delve

logging.getLogger("delve").setLevel(logging.ERROR)
RUNS = Path(tempfile.mkdtemp())
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8)
labels = torch.tensor(labels)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
train, test = order[:1000], order[1000:1600]


def network():
    """Eight convolutions of 24 channels."""
    torch.manual_seed(0)
    layers = []
    for number in range(8):
        convolution = nn.Conv2d(1 if number == 0 else 24, 24, 3, padding=1)
        layers += [convolution, nn.BatchNorm2d(24), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


def record(size):
    """Train at one size; returns the saturation and the probe of each convolution."""
    x = nn.functional.interpolate(images, size=(size, size), mode="bilinear")
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    run = RUNS / str(size)
    with delve.SaturationTracker(run, "csv", model, stats=["lsat_eval"]) as tracker:
        for _ in range(4):
            model.train()
            for batch in train[torch.randperm(len(train))].split(50):
                loss = nn.functional.cross_entropy(model(x[batch]), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                accuracy = float((model(x[test]).argmax(1) == labels[test]).float().mean())
            tracker.add_saturations()
    row = pd.read_csv(run / "metrics.csv").iloc[-1]
    saturation = [row[f"eval-saturation/{3 * number}"] for number in range(8)]
    return saturation, probes(model, x), accuracy, model


def probes(model, x):
    """Logistic regression on the pooled outputs of each convolution: its accuracy on the test."""
    found, outputs = [], x
    with torch.no_grad():
        for layer in model[:24]:
            outputs = layer(outputs)
            if isinstance(layer, nn.ReLU):
                features = nn.functional.adaptive_avg_pool2d(outputs, 2).flatten(1).numpy()
                probe = LogisticRegression(max_iter=200).fit(features[train], labels[train])
                found.append(probe.score(features[test], labels[test]))
    return found


figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True, layout="constrained")
for axis, size in zip(axes, (8, 28), strict=True):
    saturation, accuracies, accuracy, model = record(size)
    field = delve.receptive_field(model, (1, size, size))
    axis.plot(saturation, marker="o", label="saturation")
    axis.plot(accuracies, marker="s", label="probe's accuracy")
    axis.set(title=f"{size} pixels: accuracy {accuracy:.1%}", xlabel="convolution", ylim=(0, 1.05))
    print(f"{size} pixels: border layer {field.border}, accuracy {accuracy:.1%}")
    print("  probes", *(f"{one:.2f}" for one in accuracies))
    print("  saturation", *(f"{one:.2f}" for one in saturation))
axes[0].legend()

# %%
# The border layer is the first one whose input already sees the whole image. In the small image it
# comes early, and the layers behind it can add no context.
