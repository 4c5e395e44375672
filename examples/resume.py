"""Kill a training in the middle of an epoch, resume it, and check that nothing is lost or doubled.

The digits are trained in a child process that saves a checkpoint every other epoch. It is killed
with SIGKILL in an epoch after the last checkpoint, and started again from there. Then both tables
are read back. The exit status is 1 if they do not show each epoch once.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import digits
import torch

from delve import SaturationTracker

EPOCHS = 8
RUN = Path("runs/resume")
CHECKPOINT = RUN / "checkpoint.pt"
KILLED_IN = "epoch 5 batch 10"  # the last checkpoint was saved before epoch 4
RESUMED_AT = 4

T = TypeVar("T")
Table = dict[int, dict[str, float]]


def train(attempt: int) -> None:
    """The training: resumes from the checkpoint where there is one."""
    torch.manual_seed(attempt)
    train_images, train_labels, test_images, test_labels = digits.load()
    model = digits.network()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    first = 0
    if attempt > 1:
        checkpoint = torch.load(CHECKPOINT)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        first = checkpoint["epoch"]

    with SaturationTracker(
        RUN, save_to=["mlflow", "csv"], modules=model, initial_epoch=first
    ) as tracker:
        for epoch in range(first, EPOCHS):
            batches = digits.train_epoch(model, optimizer, train_images, train_labels)
            for batch, _ in enumerate(batches):
                print(f"epoch {epoch} batch {batch}", flush=True)
            tracker.add_scalar("accuracy", digits.accuracy(model, test_images, test_labels))
            tracker.add_scalar("attempt", attempt)
            tracker.add_saturations()
            if epoch % 2:
                save_checkpoint(model, optimizer, epoch + 1)


def save_checkpoint(model: torch.nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """Save what a resumed run needs, in one step: a kill must not leave half a file."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(state, CHECKPOINT.with_suffix(".tmp"))
    CHECKPOINT.with_suffix(".tmp").replace(CHECKPOINT)


def run_child(attempt: int, kill_at: str | None = None) -> None:
    """Run the training in a process of its own, and kill it when it reports ``kill_at``."""
    command = [sys.executable, __file__, str(attempt)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for line in child.stdout:
            if line.strip() == kill_at:
                child.kill()
                print(f"  killed in {kill_at}")
                return
    if child.returncode:
        sys.exit(f"the training ended with status {child.returncode}")


def read_csv() -> Table:
    """The rows of ``metrics.csv``; an epoch that stands there twice is an error."""
    with (RUN / "metrics.csv").open(newline="") as file:
        return unique(
            (int(row.pop("epoch")), {name: float(value) for name, value in row.items()})
            for row in csv.DictReader(file)
        )


def read_mlflow() -> Table:
    """The points of the run in MLflow; a step that a metric has twice is an error."""
    from mlflow import MlflowClient

    client = MlflowClient()
    run_id = json.loads((RUN / "journal.jsonl").read_text().splitlines()[0])["run_id"]
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`delve.run_id` = '{run_id}'")
    (run,) = [run for run in found if "delve.superseded_by" not in run.data.tags]
    table: Table = {}
    for name in run.data.metrics:
        points = unique(
            (point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)
        )
        for step, value in points.items():
            table.setdefault(step, {})[name] = value
    return table


def unique(pairs: Iterable[tuple[int, T]]) -> dict[int, T]:
    """A dictionary of the pairs; a key that comes twice ends the program."""
    table = {}
    for key, value in pairs:
        if key in table:
            sys.exit(f"FAILED: epoch {key} is there twice")
        table[key] = value
    return table


def show(title: str, table: Table) -> None:
    """Print a table's scalars and the saturation of its first and last layer."""
    print(
        f"\n{title}\n  epoch  attempt  accuracy  train-saturation/conv1  train-saturation/linear2"
    )
    for epoch, row in sorted(table.items()):
        print(
            f"  {epoch:5d}  {row['attempt']:7.0f}  {row['accuracy']:8.3f}"
            f"  {row['train-saturation/conv1']:22.3f}  {row['train-saturation/linear2']:24.3f}"
        )


def check(title: str, table: Table) -> bool:
    """Whether every epoch is there, and the ones after the checkpoint are the resumed ones."""
    attempts = {epoch: row["attempt"] for epoch, row in table.items()}
    expected = {epoch: 1 if epoch < RESUMED_AT else 2 for epoch in range(EPOCHS)}
    right = attempts == expected
    print(f"{title}: {'each epoch once, resumed values in place' if right else 'WRONG'}")
    return right


def main() -> int:
    print("First attempt:")
    run_child(1, kill_at=KILLED_IN)
    print(f"Second attempt, from the checkpoint before epoch {RESUMED_AT}:")
    run_child(2)
    print("  ended")
    tables = {"metrics.csv": read_csv(), "MLflow": read_mlflow()}
    for title, table in tables.items():
        show(title, table)
    print()
    right = [check(title, table) for title, table in tables.items()]
    same = tables["metrics.csv"] == tables["MLflow"]
    print(f"Both tables hold the same numbers: {'yes' if same else 'NO'}")
    return 0 if all(right) and same else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attempt", type=int, nargs="?", help="of the child process that trains")
    given = parser.parse_args()
    if given.attempt:
        train(given.attempt)
    else:
        sys.exit(main())
