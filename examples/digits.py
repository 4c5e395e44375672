"""What the examples share: handwritten digits, a small network, one epoch of training.

The 1,797 images of 8 x 8 pixels come with scikit-learn; nothing is downloaded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

BATCH_SIZE = 32


def load() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (n x 1 x 8 x 8, from 0 to 1) and labels, for training and for the test."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = map(torch.as_tensor, parts)
    return (
        train_images.float().view(-1, 1, 8, 8) / 16,
        train_labels,
        test_images.float().view(-1, 1, 8, 8) / 16,
        test_labels,
    )


def network() -> nn.Module:
    """Two convolutions and two linear layers."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 32, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 64, 3, padding=1),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            linear1=nn.Linear(64 * 4 * 4, 64),
            relu3=nn.ReLU(),
            linear2=nn.Linear(64, 10),
        )
    )


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> Iterator[float]:
    """Train on every image once, in random order; yields the loss of each batch."""
    model.train()
    for batch in torch.randperm(len(images)).split(BATCH_SIZE):
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of the images that the model gets right."""
    model.eval()
    return (model(images).argmax(dim=1) == labels).float().mean().item()
