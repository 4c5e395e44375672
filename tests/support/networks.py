"""Small healthy networks of eight kinds on the digits, trained or not, and how they are tracked."""

from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from delve import SaturationTracker
from support.writers import Recorder


def digits():
    """Images, (1797 x 1 x 8 x 8), of mean 0 and deviation 1, and labels."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None]
    return (images - images.mean()) / images.std(), torch.tensor(data.target)


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def vgg():
    def block(inputs, outputs):
        return [
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
        ]  # fmt: skip

    return nn.Sequential(
        *block(1, 16), *block(16, 16), nn.MaxPool2d(2), *block(16, 32), *block(32, 32),
        nn.MaxPool2d(2), *block(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), Residual(16, 16, 1),
        Residual(16, 32, 2), Residual(32, 48, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(48, 10),
    )  # fmt: skip


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 48, 2, 2)
        self.places = nn.Parameter(0.02 * torch.randn(1, 16, 48))
        layer = nn.TransformerEncoderLayer(
            48, 4, 96, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.places
        return self.head(self.blocks(tokens).mean(dim=1))


class GPT(nn.Module):
    """The next of 16 grey values, in the order of rows."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(17, 48), nn.Embedding(64, 48)
        layer = nn.TransformerEncoderLayer(
            48, 4, 96, dropout=0.0, batch_first=True, norm_first=True, activation="gelu"
        )
        self.blocks = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(48), nn.Linear(48, 17)

    def forward(self, x):
        hidden = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.head(self.norm(self.blocks(hidden, mask=mask, is_causal=True)))


class Rows(nn.Module):
    """An LSTM that reads an image row by row."""

    def __init__(self):
        super().__init__()
        self.lstm1 = nn.LSTM(8, 48, batch_first=True)
        self.lstm2 = nn.LSTM(48, 32, batch_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.lstm2(self.lstm1(x[:, 0])[0])[0][:, -1])


def autoencoder():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 12), nn.Linear(12, 48),
        nn.ReLU(), nn.Linear(48, 64),
    )  # fmt: skip


class Inverted(nn.Module):
    """A block of a MobileNet."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        width = 3 * inputs
        self.expand = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU6(),
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False), nn.BatchNorm2d(width),
            nn.ReLU6(), nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.adds = inputs == outputs and stride == 1

    def forward(self, x):
        return x + self.expand(x) if self.adds else self.expand(x)


def mobilenet():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(),
        Inverted(16, 16, 1), Inverted(16, 24, 2), Inverted(24, 24, 1), Inverted(24, 40, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10),
    )  # fmt: skip


def classified(model, images, labels):
    return functional.cross_entropy(model(images), labels)


def reconstructed(model, images, _):
    return functional.mse_loss(model(images), images.flatten(1))


def continued(model, images, _):
    grey = images.flatten(1)
    tokens = ((grey - grey.min()) / (grey.max() - grey.min()) * 16).round().long()
    return functional.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


Loss = Callable[..., torch.Tensor]
HEALTHY: dict[str, tuple[Callable[[], nn.Module], Loss, dict]] = {
    "mlp": (mlp, classified, {}),
    "vgg": (vgg, classified, {}),
    "resnet": (resnet, classified, {}),
    "vit": (ViT, classified, {"timeseries_method": "timestepwise"}),
    "gpt": (GPT, continued, {"timeseries_method": "timestepwise"}),
    "lstm": (Rows, classified, {"timeseries_method": "timestepwise"}),
    "autoencoder": (autoencoder, reconstructed, {}),
    "mobilenet": (mobilenet, classified, {}),
}


class Mixing(nn.Module):
    """Attention without residuals and norms, which makes the tokens of a sequence alike."""

    def __init__(self, width):
        super().__init__()
        self.values = nn.Linear(width, width)

    def forward(self, x):
        return self.values(torch.softmax(0.1 * x @ x.transpose(1, 2), dim=-1) @ x)


def run(folder, model, loss, epochs=3, lr=3e-3, stats="health", count=1280, **arguments):
    """Train, or with lr=0 not, and record each epoch in both modes; returns the run's folder.

    With lr=0 the forward passes are as in training: batch norm takes its statistics.
    """
    images, labels = digits()
    train, test = slice(0, count), slice(count, count + 512)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(0)
    tracker = SaturationTracker(folder, Recorder(), model, stats=stats, **arguments)
    with tracker:
        for _ in range(epochs):
            model.train()
            order = torch.randperm(count, generator=generator)
            for some in order.split(32):
                value = loss(model, images[train][some], labels[train][some])
                if lr:
                    optimizer.zero_grad()
                    value.backward()
                    optimizer.step()
            model.eval()
            with torch.no_grad():
                for some in torch.arange(test.start, test.stop).split(64):
                    loss(model, images[some], labels[some])
            tracker.add_saturations()
    return folder
