"""
How much accuracy is in the leading directions?
===============================================

If 99 % of a layer's variance lie in a few directions, does the network need the others? A *PCA
layer* behind a layer projects its outputs on the directions that a threshold keeps.
"""

# %%
# A small network on handwritten digits, with a PCA layer behind each of its two hidden layers.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from delve.pca_layers import LinearPCALayer, change_all_pca_layer_thresholds

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
parts = train_test_split(images / 16, labels, test_size=0.3, random_state=0, stratify=labels)
train_x, test_x = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
train_y, test_y = (torch.tensor(part) for part in parts[2:])

model = nn.Sequential(
    nn.Linear(64, 64), LinearPCALayer(64, threshold=2.0), nn.ReLU(),
    nn.Linear(64, 64), LinearPCALayer(64, threshold=2.0), nn.ReLU(),
    nn.Linear(64, 10),
)  # fmt: skip
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for _ in range(30):
    model.train()
    for batch in torch.randperm(len(train_x)).split(64):
        loss = nn.functional.cross_entropy(model(train_x[batch]), train_y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

# %%
# A threshold above 1 keeps everything. Then the threshold is lowered in both layers at once.

thresholds = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 2.0)
accuracies = []
model.eval()
for threshold in thresholds:
    change_all_pca_layer_thresholds(threshold, model)
    with torch.no_grad():
        accuracies.append(float((model(test_x).argmax(1) == test_y).float().mean()))
    print(f"threshold {threshold:5}: accuracy {accuracies[-1]:.1%}")

figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.plot([str(one) if one <= 1 else "all" for one in thresholds], accuracies, marker="o")
axis.set(xlabel="share of the variance that each layer keeps", ylabel="test accuracy", ylim=(0, 1))

# %%
# 99 % of the variance hold nearly all of the accuracy here. They do not always: in deep networks
# the losses of many layers add up, so 99 % is a convention and no proof that nothing is lost.
