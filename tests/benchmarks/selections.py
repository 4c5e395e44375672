"""What sets of statistics cost beside saturation alone, on the networks of the overhead benchmark.

Each network is trained in copies, turn by turn: untracked, with ``["lsat"]``, and with each set.
Said are the CPU time of a step over that of the untracked one, the difference to saturation alone,
and the time of the end of an epoch over that of saturation alone; medians over the rounds.

    python tests/benchmarks/selections.py --rounds 15 --set health
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

import delve

sys.path.insert(0, str(Path(__file__).parent))


class Nowhere:
    """A writer that keeps nothing."""

    @delve.hookimpl
    def save(self) -> None:
        """Take a row."""


def measure(name: str, selections: list[list[str]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds by what was done, in each round."""
    import models  # type: ignore[import-not-found]
    from overhead_worker import Step, timed  # type: ignore[import-not-found]

    make_model, make_batch = models.MODELS[name]
    batch = make_batch()
    plain = Step(make_model(), batch)
    steps = {"plain": plain}
    ends: dict[str, Any] = {}
    for stats in selections:
        key = ",".join(stats)
        steps[key] = Step(copy.deepcopy(plain.model), batch)
        tracker = delve.SaturationTracker(
            tempfile.mkdtemp(), Nowhere(), steps[key].model, stats=stats
        )
        ends[key] = tracker.add_saturations
    times: dict[str, list[float]] = {}
    for warm in (True, False):
        for _ in range(2 if warm else rounds):
            for _ in range(1 if warm else 4):
                for key, step in steps.items():
                    cpu, _ = timed(step, "cpu")
                    if not warm:
                        times.setdefault(f"step {key}", []).append(cpu)
            for key, end in ends.items():
                cpu, _ = timed(end, "cpu")
                if not warm:
                    times.setdefault(f"end {key}", []).append(cpu)
    return times


def main() -> None:
    """Print a line for each network and set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--set", dest="sets", action="append", default=None)
    parser.add_argument("--model", dest="models", action="append", default=None)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    selections = [["lsat"], *([one] for one in given.sets or ["health"])]
    for name in given.models or ["mlp", "resnet18", "vgg16", "gpt"]:
        times = measure(name, selections, given.rounds)
        # Beside each other in time, so that what else the machine does falls on all alike.
        ratio = {
            key: statistics.median(
                one / plain
                for one, plain in zip(times[f"step {key}"], times["step plain"], strict=True)
            )
            for key in (",".join(stats) for stats in selections)
        }
        for key in list(ratio)[1:]:
            end = statistics.median(times[f"end {key}"]) / statistics.median(times["end lsat"])
            print(
                f"{name:9} lsat {ratio['lsat']:.3f}  {key} {ratio[key]:.3f}  "
                f"({ratio[key] - ratio['lsat']:+.3f})  end of epoch x {end:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
