"""What a tracker costs that records every 100th step and gathers from that step alone.

    python tests/benchmarks/sparse_rows.py [MODEL ...] [--steps N] [--every N]

An untracked and a tracked copy of the network take a step in turn, in one process on one thread;
after each, the tracked one calls `add_saturations(step=...)`. Printed are the median over the
steps of tracked to untracked CPU time, which has none of those that record, and the ratio of the
sums, which has them and what ends each row.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from overhead_worker import Step  # type: ignore[import-not-found]

import delve


class Nowhere:
    """A writer that keeps nothing."""

    def add_scalars(self, value_dict: dict[str, float], global_step: int) -> None:
        """Take in a row."""


def seconds(action: Callable[[], None]) -> float:
    """CPU time of one call."""
    before = time.process_time()
    action()
    return time.process_time() - before


def measure(name: str, steps: int, every: int) -> tuple[float, float]:
    """The median of the steps' ratios, and the ratio of their sums."""
    import models  # type: ignore[import-not-found]

    make_model, make_batch = models.MODELS[name]
    batch = make_batch()
    plain = Step(make_model(), batch)
    tracked = Step(copy.deepcopy(plain.model), batch)
    tracker = delve.SaturationTracker(
        tempfile.mkdtemp(), Nowhere(), tracked.model, every=every, gather="last"
    )

    def step_and_row() -> None:
        tracked()
        tracker.add_saturations(step=count)

    for _ in range(3):
        plain()
        tracked()
    pairs = []
    for count in range(1, steps + 1):
        turns = (step_and_row, plain) if count % 2 else (plain, step_and_row)
        times = {action: seconds(action) for action in turns}
        pairs.append((times[step_and_row], times[plain]))
    tracker.close()
    ratios = [with_delve / without for with_delve, without in pairs]
    sums = [sum(column) for column in zip(*pairs, strict=True)]
    return statistics.median(ratios), sums[0] / sums[1]


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=["mlp", "gpt", "resnet18", "vgg16"])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in options.models:
        median, ratio = measure(name, options.steps, options.every)
        print(f"{name:10} median {median:.4f}, with the rows {ratio:.4f}", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
