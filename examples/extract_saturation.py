"""How wide must a layer be? Two-layer regressions of growing width, and what saturation says.

Narrow networks fill their hidden layer (saturation near 1); wide ones leave most of it unused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from delve import SaturationTracker

SAMPLES, INPUTS, OUTPUTS, BATCH = 640, 20, 5, 64


class TwoLayerNet(nn.Module):
    """Linear, ReLU, linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(INPUTS, width)
        self.linear2 = nn.Linear(width, OUTPUTS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear2(torch.relu(self.linear1(x)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[4, 8, 16, 32, 64, 128, 256])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("runs/regression"))
    options = parser.parse_args()

    torch.manual_seed(1)
    x = torch.randn(SAMPLES, INPUTS)
    y = torch.sin(x @ torch.randn(INPUTS, OUTPUTS))  # something to learn
    print(f"{'width':>6}{'loss':>9}   saturation of linear1 (train, eval)")
    for width in options.widths:
        model = TwoLayerNet(width)
        tracker = SaturationTracker(
            options.out / f"width-{width}",
            save_to="csv",
            modules=model,
            stats=["lsat", "lsat_eval"],
            config={"width": width},
        )
        loss = train(model, tracker, x, y, options.epochs)
        saturation = last_saturations(options.out / f"width-{width}" / "metrics.csv")
        print(f"{width:6d}{loss:9.4f}   {saturation[0]:.2f} {saturation[1]:.2f}")


def train(
    model: nn.Module,
    tracker: SaturationTracker,
    x: torch.Tensor,
    y: torch.Tensor,
    epochs: int,
) -> float:
    """Train and evaluate in each epoch; returns the last training loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loss = torch.zeros(())
    for _ in tqdm(range(epochs), unit="epoch", leave=False, disable=None):
        model.train()
        for batch in torch.randperm(len(x)).split(BATCH):
            loss = nn.functional.mse_loss(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            tracker.add_scalar("loss", nn.functional.mse_loss(model(x), y))
        tracker.add_saturations()
    tracker.close()
    return loss.item()


def last_saturations(table: Path) -> tuple[float, float]:
    """The last row's saturation of the hidden layer, in training and evaluation."""
    header, *_, last = (line.split(",") for line in table.read_text().splitlines())
    row = dict(zip(header, last, strict=True))
    return float(row["train-saturation/linear1"]), float(row["eval-saturation/linear1"])


if __name__ == "__main__":
    main()
