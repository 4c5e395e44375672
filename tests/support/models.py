"""Small models, and their outputs recorded in a way that shares nothing with Delve."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class ConvLSTM(nn.Module):
    """Images through a convolution, their rows as a sequence through an LSTM, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.lstm = nn.LSTM(6 * 5, 12, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.relu(self.conv(x))
        series, _ = self.lstm(maps.permute(0, 2, 1, 3).flatten(2))
        return self.head(series[:, -1])

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Every layer's samples by the default methods, computed without any hook."""
        with torch.no_grad():
            maps = self.conv(x)
            series, _ = self.lstm(torch.relu(maps).permute(0, 2, 1, 3).flatten(2))
            positions = [
                maps[i, :, r, c] for i in range(len(x)) for r in range(5) for c in range(5)
            ]
            return {
                "conv": torch.stack(positions),
                "lstm": series[:, -1],
                "head": self.head(series[:, -1]),
            }


def reference_saturation(samples: np.ndarray, threshold: float = 0.99) -> float:
    """Saturation by its definition, over all samples at once, in float64."""
    centred = samples.astype(np.float64) - samples.astype(np.float64).mean(axis=0)
    eigenvalues = np.linalg.svd(centred, compute_uv=False) ** 2
    features = samples.shape[1]
    eigenvalues = np.concatenate([eigenvalues, np.zeros(max(0, features - len(eigenvalues)))])
    for k in range(1, features + 1):
        if eigenvalues[:k].sum() >= threshold * eigenvalues.sum():
            return k / features
    return 1.0
