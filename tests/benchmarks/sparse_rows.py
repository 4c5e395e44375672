"""What a tracker costs that records every 100th step and gathers from that step alone.

    python tests/benchmarks/sparse_rows.py [MODEL ...] [--steps N] [--every N]

A tracked and two untracked copies of the network take a step in turn, in one process on one thread;
after each, the tracked one calls `add_saturations(step=...)`. Printed are the median over the
steps of tracked to untracked CPU time, which has none of those that record, and the ratio of the
sums, which has them and what ends each row; then the same of the second untracked copy, which is
what the machine alone makes of them.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from operator import truediv
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


def measure(name: str, steps: int, every: int) -> list[tuple[float, float]]:
    """The median of the steps' ratios and the ratio of their sums, tracked and untracked."""
    import models  # type: ignore[import-not-found]

    make_model, make_batch = models.MODELS[name]
    batch = make_batch()
    plain = Step(make_model(), batch)
    tracked, control = (Step(copy.deepcopy(plain.model), batch) for _ in range(2))
    tracker = delve.SaturationTracker(
        tempfile.mkdtemp(), Nowhere(), tracked.model, every=every, gather="last"
    )

    numbers = itertools.count()

    def step_and_row() -> None:
        tracked()
        tracker.add_saturations(step=next(numbers))

    turns = deque([plain, step_and_row, control])
    for _ in range(3):
        for step in (plain, tracked, control):
            step()
    taken: dict[Callable[[], None], list[float]] = {turn: [] for turn in turns}
    for _ in range(steps):
        for turn in turns:
            taken[turn].append(seconds(turn))
        turns.rotate()
    tracker.close()
    without = taken[plain]
    return [
        (statistics.median(map(truediv, times, without)), sum(times) / sum(without))
        for times in (taken[step_and_row], taken[control])
    ]


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
        (median, ratio), (other, others) = measure(name, options.steps, options.every)
        print(
            f"{name:10} median {median:.4f}, with the rows {ratio:.4f}; "
            f"untracked {other:.4f}, {others:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
