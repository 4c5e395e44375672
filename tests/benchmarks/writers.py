"""What an epoch costs in each writer, journal included, and whether that grows with the run.

    python tests/benchmarks/writers.py [WRITER ...] [--epochs N] [--metrics N]

Times are wall milliseconds, the median of the ten epochs up to the one that heads the column. The
limits are those of the issue of each writer; a missed one is marked and makes the exit status 1.
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

from delve.delivery import Delivery
from delve.discovery import installed_writers, make_writers
from delve.journal import Journal, now_in_ms
from delve.records import MODES, EpochRecord, Metric, RunInfo

MILESTONES = (10, 100, 1000, 5000)
WINDOW = 10


@dataclass(frozen=True)
class Case:
    """A writer, how many metrics an epoch has, and the most that it may cost."""

    writer: str
    metrics: int
    limit: float  # milliseconds
    arguments: tuple[tuple[str, object], ...] = ()


CASES = (
    Case("csv", 500, 20),
    Case("mlflow", 200, 100),
)


def measure(case: Case, epochs: int, folder: Path) -> list[float]:
    """The milliseconds of each epoch."""
    folder.mkdir()
    writers = make_writers(case.writer, folder, dict(case.arguments))
    journal = Journal.create(folder, [], {})
    run = RunInfo(folder, journal.run_id, journal.created)
    delivery = Delivery(writers, journal, run, raise_errors=True)
    delivery.open()
    names = metrics(case.metrics)
    layers = list(dict.fromkeys(name.layer for name in names))
    random = np.random.default_rng(0)
    times = []
    for epoch in tqdm(range(epochs), case.writer, unit="epoch", leave=False, disable=None):
        values = dict(zip(names, random.random(len(names)).tolist(), strict=True))
        begin = time.perf_counter()
        record = EpochRecord(epoch, now_in_ms(), {}, values)
        journal.record(record, layers)
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
    parser.add_argument("--epochs", type=int, default=1000)
    options = parser.parse_args()
    installed = installed_writers()
    wanted = options.writers or [case.writer for case in CASES if case.writer in installed]
    shown = [milestone for milestone in MILESTONES if milestone <= options.epochs]
    print(f"{'writer':<13}{'metrics':>8}{'limit':>8}", *(f"{m:>9}" for m in shown), "  (ms)")
    missed = False
    for case in CASES:
        if case.writer not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            times = measure(case, options.epochs, Path(folder) / "run")
            os.chdir("/")
        medians = [statistics.median(times[m - WINDOW : m]) for m in shown]
        late = max(medians) > case.limit
        missed |= late
        row = f"{case.writer:<13}{case.metrics:>8}{case.limit:>8.0f}"
        print(row, *(f"{m:>9.1f}" for m in medians), "  MISSED" if late else "", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
