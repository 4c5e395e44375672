"""Train a small convolutional network on handwritten digits; record it to MLflow and CSV.

Run it with ``tox run -e quickstart``, or ``python examples/quickstart.py`` where Delve is
installed. It writes to ``runs/quickstart`` and to MLflow's default, ``mlflow.db``, both here.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path
from statistics import mean

import digits
import torch
from tqdm.auto import tqdm

from delve import SaturationTracker

EPOCHS = 8
LEARNING_RATE = 2e-3
RUN = Path("runs/quickstart")


def main() -> None:
    torch.manual_seed(0)
    train_images, train_labels, test_images, test_labels = digits.load()
    model = digits.network()
    config = {"optimizer": "Adam", "lr": LEARNING_RATE, "batch_size": digits.BATCH_SIZE}
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    batches = EPOCHS * math.ceil(len(train_images) / digits.BATCH_SIZE)
    with (
        SaturationTracker(RUN, save_to=["mlflow", "csv"], modules=model, config=config) as tracker,
        tqdm(total=batches, desc="training", unit="batch") as progress,
    ):
        for _ in range(EPOCHS):
            losses = []
            for loss in digits.train_epoch(model, optimizer, train_images, train_labels):
                losses.append(loss)
                progress.update()
            accuracy = digits.accuracy(model, test_images, test_labels)
            progress.set_postfix(accuracy=f"{accuracy:.3f}")
            tracker.add_scalar("loss", mean(losses))
            tracker.add_scalar("accuracy", accuracy)
            tracker.add_saturations()
    report()


def report() -> None:
    """Show the last row of the table that was written."""
    with (RUN / "metrics.csv").open(newline="") as file:
        *_, last = csv.DictReader(file)
    print(f"\nSaturation of each layer after epoch {last['epoch']}, in training and evaluation:\n")
    for key, value in last.items():
        mode, _, layer = key.partition("-saturation/")
        if layer:
            print(f"  {layer:<8} {mode:<5} {bar(float(value))} {float(value):6.1%}")
    print(f"\nTest accuracy: {float(last['accuracy']):.1%}")
    print(f"\nThe table:   {RUN / 'metrics.csv'}")
    print(f"The journal: {RUN / 'journal.jsonl'}")
    print("In MLflow:   start this and open http://127.0.0.1:5000")
    command = Path(sys.executable).with_name("mlflow")
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    print(f"    {command} ui \\\n        --backend-store-uri sqlite:///mlflow.db")


def bar(share: float, width: int = 40) -> str:
    """A share as a bar of this many characters."""
    full = round(share * width)
    return "█" * full + "░" * (width - full)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # for --help
    main()
