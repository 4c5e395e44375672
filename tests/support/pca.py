"""What tests of the PCA layers share: samples, maps, and what a projection ought to be."""

import numpy as np
import torch
import torch._dynamo
from torch import nn

from delve.pca_layers import (
    Conv2DPCALayer,
    LinearPCALayer,
)

FEATURES = 12


def samples(count=600, features=FEATURES, seed=0, dtype=torch.float32):
    """Correlated samples, away from zero, whose eigenvalues fall by a half each."""
    generator = np.random.default_rng(seed)
    scales = np.sqrt(0.5 ** np.arange(features))
    directions = np.linalg.qr(generator.standard_normal((features, features)))[0]
    rows = generator.standard_normal((count, features)) * scales @ directions.T
    return torch.from_numpy(rows + 3 + np.arange(features) / 4).to(dtype)


def maps(count=40, filters=6, side=5, seed=0):
    positions = samples(count * side * side, filters, seed)
    return positions.view(count, side, side, filters).permute(0, 3, 1, 2).contiguous()


def taught(layer, x, batch=50):
    """The layer after an epoch of training on x, at the beginning of the evaluation."""
    layer.train()
    for part in x.split(batch):
        layer(part)
    return layer.eval()


def scikit_projection(pca, x):
    return pca.inverse_transform(pca.transform(x))


def reference_projection(rows, count, centering):
    """The projection by its definition, over all samples at once, in float64."""
    rows = np.asarray(rows, dtype=np.float64)
    origin = rows.mean(axis=0) if centering else np.zeros(rows.shape[1])
    vectors = np.linalg.svd(rows - origin, full_matrices=False)[2][:count].T
    return (rows - origin) @ vectors @ vectors.T + origin


def save_and_load(layer, fresh, path):
    torch.save(layer.state_dict(), path)
    fresh.load_state_dict(torch.load(path, weights_only=True))
    return fresh.eval()


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3),
        Conv2DPCALayer(6, verbose=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 16, 20),
        LinearPCALayer(20),
        nn.ReLU(),
        nn.Linear(20, 10),
        LinearPCALayer(10),
    )
