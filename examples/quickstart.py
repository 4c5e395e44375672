"""Train a small convolutional network on handwritten digits; record it to MLflow and CSV.

Run it with ``tox run -e quickstart``, or ``python examples/quickstart.py`` where Delve is
installed. It writes to ``runs/quickstart`` and to MLflow's default, ``mlflow.db``, both here.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
from pathlib import Path
from statistics import mean

import digits
import torch
from tqdm.auto import tqdm

from delve import SaturationTracker, load
from delve.journal import Page

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
    show_page(load(RUN).pages["mlflow"])


def show_page(page: Page) -> None:
    """Say how to look at the run in MLflow."""
    if page.command:
        program, *arguments, option, store = page.command
        here = f"{Path.cwd()}{os.sep}"
        path = str(Path(sys.executable).with_name(program)).removeprefix(here)
        print("In MLflow:   start this and open the run's page")
        print(f"    {' '.join([path, *arguments])} \\\n        {option} {store.replace(here, '')}")
    else:
        print("In MLflow:")
    print(f"    {page.url}")


def bar(share: float, width: int = 40) -> str:
    """A share as a bar of this many characters."""
    full = round(share * width)
    return "█" * full + "░" * (width - full)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # for --help
    main()
