"""Handwritten digits in a loop of Accelerate's.

    python examples/accelerate_digits.py
    accelerate launch --cpu --num_processes 2 examples/accelerate_digits.py

takes some seconds, and downloads nothing. Kill it and start it again: it goes on from its last
checkpoint, and `delve show runs/accelerate/delve` shows each row once.
"""

import argparse
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import delve

EPOCHS = 6
FOLDER = Path("runs/accelerate")


def main() -> None:
    """Train from the last checkpoint, if there is one."""
    set_seed(0)
    accelerator = Accelerator(project_dir=str(FOLDER), cpu=True)
    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    loader = DataLoader(TensorDataset(images[360:], labels[360:]), batch_size=32, shuffle=True)
    held_out = DataLoader(TensorDataset(images[:360], labels[:360]), batch_size=32)
    model = nn.Sequential(
        nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    model, optimizer, loader, held_out = accelerator.prepare(model, optimizer, loader, held_out)
    tracker = delve.accelerate.track(accelerator, model)

    checkpoints = sorted(FOLDER.glob("epoch-*"))
    if checkpoints:
        accelerator.load_state(str(checkpoints[-1]))
    for epoch in range(len(checkpoints), EPOCHS):
        model.train()
        for batch, target in loader:
            optimizer.zero_grad()
            accelerator.backward(nn.functional.cross_entropy(model(batch), target))
            optimizer.step()
        model.eval()
        right = torch.zeros(1)
        with torch.no_grad():
            for batch, target in held_out:
                answers, wanted = accelerator.gather_for_metrics((model(batch), target))
                right += (answers.argmax(1) == wanted).sum()
        tracker.add_scalar("accuracy", right / 360)
        tracker.add_saturations()
        accelerator.print(f"epoch {epoch}: {right.item() / 360:.1%}")
        accelerator.save_state(str(FOLDER / f"epoch-{epoch}"))
    accelerator.end_training()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # for --help
    main()
