"""VGG-16 on CIFAR-10, with a table and plots of every layer's saturation.

Uses torchvision's network where torchvision is installed, and CIFAR-10 where it lies under
``--data``; nothing is downloaded. Without them it builds the network itself, and images of the
same shape whose class is a pattern under noise; it says which.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from tqdm.auto import tqdm

from delve import SaturationTracker

CONVOLUTIONS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10_vgg16"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=2000, help="to generate for training")
    options = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    train_data, test_data = datasets(options.data, options.images)
    train_loader = DataLoader(train_data, options.batch_size, shuffle=True)
    test_loader = DataLoader(test_data, options.batch_size)
    model = network().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
    criterion = nn.CrossEntropyLoss()

    tracker = SaturationTracker(options.out, save_to="plotcsv", modules=model, device=device)
    for epoch in range(options.epochs):
        model.train()
        for images, labels in tqdm(train_loader, f"epoch {epoch}", leave=False, disable=None):
            loss = criterion(model(images.to(device)), labels.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        model.eval()
        correct, test_loss = 0, 0.0
        with torch.no_grad():
            for images, labels in test_loader:
                outputs = model(images.to(device)).cpu()
                correct += (outputs.argmax(dim=1) == labels).sum().item()
                test_loss += criterion(outputs, labels).item() * len(labels)
        tracker.add_scalar("accuracy", correct / len(test_data))
        tracker.add_scalar("loss", test_loss / len(test_data))
        tracker.add_saturations()
        print(f"epoch {epoch}: test accuracy {correct / len(test_data):.1%}")
    tracker.close()
    print(f"The table and the plots are in {options.out}")


def network() -> nn.Module:
    """VGG-16 for 10 classes."""
    try:
        from torchvision.models.vgg import vgg16
    except (ImportError, RuntimeError):  # also where it was built for another torch
        print("torchvision is not usable here: the network is built by this program")
        return own_vgg16()
    print("the network is torchvision's")
    model: nn.Module = vgg16(num_classes=10)
    return model


def own_vgg16() -> nn.Module:
    """Its convolutions, with a classifier for images of 32 x 32 pixels."""
    layers: list[nn.Module] = []
    channels = 3
    for width in CONVOLUTIONS:
        if width:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    classifier = [nn.Flatten(), nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Linear(512, 10)]
    return nn.Sequential(*layers, *classifier)


def datasets(folder: Path, images: int) -> tuple[Dataset[tuple[Tensor, int]], ...]:
    """Training and test set: CIFAR-10 from the folder, else generated."""
    try:
        from torchvision.datasets import CIFAR10
        from torchvision.transforms import ToTensor

        found = tuple(CIFAR10(folder, train=train, transform=ToTensor()) for train in (True, False))
    except (ImportError, RuntimeError):
        print(f"CIFAR-10 is not in {folder}: {images} images of the same shape are generated")
        patterns = torch.randn(10, 3, 32, 32)
        return generated(patterns, images), generated(patterns, max(images // 5, 10))
    print(f"the images are CIFAR-10's, from {folder}")
    return found


def generated(patterns: Tensor, count: int) -> TensorDataset:
    """Images of one pattern a class under noise."""
    labels = torch.randint(len(patterns), (count,))
    return TensorDataset(patterns[labels] + 2 * torch.randn(count, 3, 32, 32), labels)


if __name__ == "__main__":
    main()
