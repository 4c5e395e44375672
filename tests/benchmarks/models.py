"""The networks of the overhead benchmark, with a batch for each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

VGG_16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def mlp() -> nn.Module:
    """784-1024-1024-1024-10."""
    layers: list[nn.Module] = [nn.Linear(784, 1024), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Linear(1024, 1024), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(1024, 10))


class Residual(nn.Module):
    """A basic block of a ResNet."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """A block of a deeper ResNet: 1 x 1, 3 x 3, 1 x 1."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet50() -> nn.Module:
    """ResNet-50 in its form for 224 x 224 images."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    ]  # fmt: skip
    inputs = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            layers.append(Bottleneck(inputs, width, stride if number == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def resnet18() -> nn.Module:
    """ResNet-18 in its form for 32 x 32 images."""
    blocks = [
        Residual(i, o, s)
        for i, o, s in [
            (64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1),
            (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1),
        ]
    ]  # fmt: skip
    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def vgg16() -> nn.Module:
    """VGG-16 with batch normalisation, in its form for 32 x 32 images."""
    layers: list[nn.Module] = []
    channels = 3
    for width in VGG_16:
        if width:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


class Block(nn.Module):
    """A transformer block with causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.reduce = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        split = self.qkv(self.norm1(x)).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = split
        attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.projection(attended.transpose(1, 2).reshape(batch, time, width))
        return x + self.reduce(nn.functional.gelu(self.expand(self.norm2(x))))


class GPT(nn.Module):
    """Six blocks of width 384 over a vocabulary of 4096, unless other sizes are given."""

    def __init__(
        self,
        vocabulary: int = 4096,
        width: int = 384,
        context: int = 128,
        depth: int = 6,
        heads: int = 6,
    ) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        places = self.places(torch.arange(x.shape[1], device=x.device))
        return self.head(self.norm(self.blocks(self.tokens(x) + places)))


def gpt124m() -> nn.Module:
    """Twelve blocks of width 768 over a vocabulary of 50257, its head tied to the embedding."""
    model = GPT(50257, 768, 256, 12, 12)
    model.head = nn.Linear(768, 50257, bias=False)
    model.head.weight = model.tokens.weight
    return model


def wide() -> nn.Module:
    """Two layers of 4096."""
    return nn.Sequential(nn.Linear(256, 4096), nn.ReLU(), nn.Linear(4096, 4096))


def head() -> nn.Module:
    """A head of 32,000 words."""
    return nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 32_000))


def large_images() -> tuple[Tensor, Tensor]:
    """A batch of 8 images of 3 x 224 x 224, and labels."""
    return torch.randn(8, 3, 224, 224), torch.randint(1000, (8,))


def rows() -> tuple[Tensor, Tensor]:
    """A batch of 2048 vectors of 256, and labels."""
    return torch.randn(2048, 256), torch.randint(4096, (2048,))


def few_texts() -> tuple[Tensor, Tensor]:
    """A batch of 2 texts of 256 tokens, and the next token of each place."""
    return torch.randint(50257, (2, 256)), torch.randint(50257, (2, 256))


def images() -> tuple[Tensor, Tensor]:
    """A batch of 32 images of 3 x 32 x 32, and labels."""
    return torch.randn(32, 3, 32, 32), torch.randint(10, (32,))


def vectors() -> tuple[Tensor, Tensor]:
    """A batch of 128 vectors of 784, and labels."""
    return torch.randn(128, 784), torch.randint(10, (128,))


def texts() -> tuple[Tensor, Tensor]:
    """A batch of 8 texts of 128 tokens, and the next token of each place."""
    return torch.randint(4096, (8, 128)), torch.randint(4096, (8, 128))


# Where every token is a sample.
ALL_TOKENS = {"gpt-all", "gpt124m"}

MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]]]] = {
    "mlp": (mlp, vectors),
    "resnet18": (resnet18, images),
    "vgg16": (vgg16, images),
    "gpt": (GPT, texts),
    "resnet50": (resnet50, large_images),
    "gpt-all": (GPT, texts),
    "gpt124m": (gpt124m, few_texts),
    "d4096": (wide, rows),
    "head32k": (head, rows),
}
