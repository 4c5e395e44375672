"""What sketches cost beside exact covariances, and whether their bounds hold.

    python tests/benchmarks/sketch.py [--cases N] [--before FOLDER] [--width N] [--rows N]

First, so many random cases (spectra, data types, drifts, merges, resumes, epochs; see
tests/support/spectra.py): in how many the interval holds the exact intrinsic dimensionality, at
five thresholds. Then a layer of 4096 features, gathered by sketch by this Delve and exactly by that
of another checkout (`git worktree add FOLDER COMMIT`), in two processes that take turns batch by
batch: CPU time of the hooks alone and of the end of an epoch, and bytes held by tensors. A bound
that does not hold, or a missed target, makes the exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tqdm.auto import tqdm

HERE = Path(__file__).parent
TARGETS = {"hooks": 0.30, "held": 1 / 32, "end": 1 / 20}
BATCHES, EPOCHS = 17, 2  # so that the exact one has multiplied all but the last batch
COLUMNS = {"128 directions": "12MiB", "256 directions": "1GiB"}  # what memory_limit leaves


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.worker is not None:
        work(wanted.worker, wanted.width, wanted.rows)
        return 0
    failed = bounds_that_do_not_hold(wanted.cases) > 0
    if wanted.before:
        failed |= side_by_side(wanted.before, wanted.width, wanted.rows)
    return int(failed)


def bounds_that_do_not_hold(cases: int) -> int:
    """Go through random cases, and print how wide the intervals are in each epoch."""
    sys.path.insert(0, str(HERE.parent))
    import torch
    from support.spectra import THRESHOLDS, Case, exact_dimensionality, leading_sums, sketched

    torch.set_num_threads(1)
    wrong, checked, agreed = 0, 0, 0
    widths: dict[tuple[str, int], list[float]] = defaultdict(list)
    for seed in tqdm(range(cases), desc="cases"):
        case = Case.random(seed)
        for epoch, (samples, sketch) in enumerate(sketched(case)):
            sums, bounds = leading_sums(samples), sketch.bounds()
            for threshold in THRESHOLDS:
                low, high = bounds.intrinsic_dimensionality(threshold)
                exact = exact_dimensionality(sums, threshold)
                checked, agreed = checked + 1, agreed + (low == high)
                if not low <= exact <= high:
                    wrong += 1
                    print(f"WRONG: {exact} is not in [{low}, {high}] at {threshold}: {case}")
                if threshold == 0.99 and case.columns >= 16 and case.features >= 130:
                    widths[case.spectrum, epoch].append((high - low) / case.features)
    print(f"\n{cases} cases, {checked} intervals: {wrong} do not hold the exact value")
    print(f"both ends agree in {100 * agreed / max(checked, 1):.0f} %")
    print("\nmean width at 0.99, in points of saturation (130 features and more, 16 directions up)")
    print("spectrum            epoch 0  epoch 1  epoch 2")
    for spectrum in dict.fromkeys(name for name, _ in widths):
        row = [widths.get((spectrum, epoch)) for epoch in range(3)]
        told = [f"{100 * statistics.mean(w):7.1f}" if w else " " * 7 for w in row]
        print(f"{spectrum:18s}  {'  '.join(told)}")
    return wrong


def side_by_side(before: Path, width: int, rows: int) -> bool:
    """Compare with another checkout; whether a target was missed at the first number of columns."""
    missed = False
    print(f"\n{width} features, {BATCHES} batches of {rows} rows, {EPOCHS} epochs, beside {before}")
    print("                   hooks            end of epoch       held")
    for number, (name, limit) in enumerate(COLUMNS.items()):
        workers = [
            _start(before, "exact", width, rows),
            _start(HERE.parents[1], limit, width, rows),
        ]
        seconds: list[dict[str, list[float]]] = [defaultdict(list), defaultdict(list)]
        held = [0.0, 0.0]
        for _ in range(EPOCHS):
            for what in (*["hooks"] * BATCHES, "held", "end"):
                for place, worker in enumerate(workers):
                    answer = _ask(worker, what)
                    seconds[place][what].append(answer)
                    if what == "held":
                        held[place] = answer
        for worker in workers:
            worker.stdin.close()
            worker.wait()
        ratios = {
            "hooks": sum(seconds[1]["hooks"]) / sum(seconds[0]["hooks"]),
            "end": statistics.median(seconds[1]["end"]) / statistics.median(seconds[0]["end"]),
            "held": held[1] / held[0],
        }
        mean = [statistics.mean(one["hooks"]) for one in seconds]
        end = [statistics.median(one["end"]) for one in seconds]
        marks = [what for what, most in TARGETS.items() if ratios[what] > most]
        missed |= number == 0 and bool(marks)
        print(
            f"{name:15s} {1e3 * mean[0]:5.0f} {1e3 * mean[1]:4.0f} ms {ratios['hooks']:.2f}"
            f"   {end[0]:5.2f} {end[1]:.2f} s {ratios['end']:.3f}"
            f"   {held[0] / 2**20:4.0f} {held[1] / 2**20:5.1f} MiB 1/{1 / ratios['held']:.0f}"
            f"   {'MISSED: ' + ', '.join(marks) if marks else ''}"
        )
    return missed


def _start(code: Path, limit: str, width: int, rows: int) -> subprocess.Popen:
    command = [sys.executable, __file__, "--worker", limit]
    return subprocess.Popen(
        [*command, "--width", str(width), "--rows", str(rows)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(code)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ask(worker: subprocess.Popen, what: str) -> float:
    worker.stdin.write(f"{what}\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def work(limit: str, width: int, rows: int) -> None:
    """One of the two: answers each line of its input with a number."""
    import logging
    import tempfile
    import time

    import torch

    from delve import SaturationTracker

    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = torch.nn.Linear(256, width)
    with torch.no_grad():  # a spectrum that falls
        layer.weight *= torch.arange(1, 257) ** -1.0
    options = {} if limit == "exact" else {"memory_limit": limit, "sketch": ["Linear-0"]}
    folder = tempfile.mkdtemp()

    def timed(act: object) -> float:
        begun = time.process_time()
        act()
        return time.process_time() - begun

    class Nothing:
        def save(self) -> None:
            pass

    with SaturationTracker(folder, Nothing(), layer, **options) as tracker, torch.no_grad():
        for line in sys.stdin:
            answer = 0.0
            match line.strip():
                case "hooks":
                    x = torch.randn(rows, 256) + 1
                    answer = timed(lambda x=x: layer(x))
                    tracker.stop()
                    answer -= timed(lambda x=x: layer(x))
                    tracker.resume()
                case "held":
                    answer = _bytes_in(tracker._hooks._gatherer, set())
                case "end":
                    answer = timed(tracker.add_saturations)
            print(json.dumps(answer), flush=True)


def _bytes_in(what: object, seen: set[int]) -> int:
    """The bytes of all tensors that an object of Delve's leads to."""
    import torch

    if id(what) in seen:
        return 0
    seen.add(id(what))
    if isinstance(what, torch.Tensor):
        storage = what.untyped_storage()
        known = storage.data_ptr() in seen
        seen.add(storage.data_ptr())
        return 0 if known else storage.nbytes()
    if isinstance(what, dict):
        return sum(_bytes_in(value, seen) for value in what.values())
    if isinstance(what, (list, tuple)):
        return sum(_bytes_in(value, seen) for value in what)
    if type(what).__module__.startswith("delve."):
        return _bytes_in(vars(what), seen) if hasattr(what, "__dict__") else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
