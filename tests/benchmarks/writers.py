"""What an epoch costs in each writer, journal included, and whether that grows with the run.

    python tests/benchmarks/writers.py [WRITER ...] [--epochs N] [--metrics N]

Times are wall milliseconds, the median of the ten epochs up to the one that heads the column. The
limit is what a user would not notice; a missed one is marked and makes the exit status 1. W&B runs
offline, MLflow on sqlite. npy writes its scalars now and then: an epoch that pays for that shows in
the mean, which stands last.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from delve.base import entry_points
from delve.delivery.delivery import Delivery
from delve.delivery.discovery import GROUP, make_writers
from delve.journal.clock import now_in_ms
from delve.journal.journal import Journal
from delve.records import MODES, EpochRecord, Metric, RunInfo

MILESTONES = (10, 100, 1000, 5000)
WINDOW = 10


@dataclass(frozen=True)
class Case:
    """Writers, how many metrics an epoch has, and the most that an epoch may cost.

    Attributes:
        writers: Their names.
        metrics: How many an epoch has.
        limit: In milliseconds.
        longest: How many epochs at the most; MLflow's own cost would take the rest of the day.
    """

    writers: tuple[str, ...]
    metrics: int
    limit: float
    longest: int = MILESTONES[-1]

    @property
    def name(self) -> str:
        return self.writers[0] if len(self.writers) == 1 else f"{len(self.writers)} together"


CASES = (
    Case(("csv",), 500, 15),
    Case(("npy",), 500, 20),
    Case(("tensorboard",), 500, 15),
    Case(("wandb",), 500, 10),
    Case(("csv", "npy", "tensorboard", "wandb"), 500, 80),
    Case(("mlflow",), 200, 100, longest=1000),
)


def measure(case: Case, epochs: int, folder: Path) -> list[float]:
    """The milliseconds of each epoch."""
    folder.mkdir()
    epochs = min(epochs, case.longest)
    writers = make_writers(list(case.writers), folder)
    journal = Journal.create(folder, [], {})
    run = RunInfo(folder, journal.run_id, journal.created)
    delivery = Delivery(writers, journal, run, raise_errors=True)
    delivery.open()
    names = metrics(case.metrics)
    layers = list(dict.fromkeys(name.layer for name in names))
    random = np.random.default_rng(0)
    times = []
    for epoch in tqdm(range(epochs), case.name, unit="epoch", leave=False, disable=None):
        values = dict(zip(names, random.random(len(names)).tolist(), strict=True))
        begin = time.perf_counter()
        record = EpochRecord(epoch, now_in_ms(), {}, values)
        journal.write_epoch(record, layers)
        delivery.save(record, {}, layers)
        times.append((time.perf_counter() - begin) * 1000)
    delivery.close(None)
    journal.close()
    return times


def metrics(count: int) -> list[Metric]:
    """The saturation of half as many layers in each mode."""
    layers = [f"layer{block // 4}.{block % 4}.conv{block}" for block in range(count // 2)]
    return [Metric(mode, "saturation", layer) for mode in MODES for layer in layers]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("writers", nargs="*", metavar="WRITER", help="default: all installed")
    os.environ["WANDB_MODE"] = "offline"
    os.environ.setdefault("WANDB_SILENT", "true")
    parser.add_argument("--epochs", type=int, default=1000)
    options = parser.parse_args()
    wanted = set(options.writers or entry_points.offers(GROUP))
    shown = [milestone for milestone in MILESTONES if milestone <= options.epochs]
    print(f"{'writer':<13}{'metrics':>8}{'limit':>8}", *(f"{m:>9}" for m in shown), f"{'mean':>9}")
    missed = False
    for case in CASES:
        if not wanted.issuperset(case.writers):
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            times = measure(case, options.epochs, Path(folder) / "run")
            os.chdir("/")
        reached = [milestone for milestone in shown if milestone <= case.longest]
        medians = [statistics.median(times[m - WINDOW : m]) for m in reached]
        late = max(medians) > case.limit
        missed |= late
        row = f"{case.name:<13}{case.metrics:>8}{case.limit:>8.0f}"
        columns = [f"{m:>9.1f}" for m in medians] + [" " * 9] * (len(shown) - len(medians))
        mean = f"{statistics.fmean(times):>9.1f}"
        print(row, *columns, mean, "  MISSED" if late else "", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
