"""What tracking costs a training step and the end of an epoch, beside delve 0.1.50.

    python tests/benchmarks/overhead.py [MODEL ...] [--steps N] [--epochs N] [--device cuda]

Two processes, one with this Delve and one with 0.1.50 from the package index, work turn by turn;
in each, an untracked and a tracked copy of the network take a step in turn. The ratio is the
median over the steps of tracked to untracked CPU time (wall time on a GPU); the end of an epoch is
a median too. A layer with few samples in a batch costs most in the few steps that fill its block,
which a median does not show: the mean, of all tracked over all untracked steps, does. A missed
target is marked and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

OLD = "0.1.50"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Target:
    """The highest ratio of a step, and how many times faster than 0.1.50 an epoch must end."""

    step: float
    epoch: float


TARGETS = {
    "mlp": Target(1.15, 1.5),
    "resnet18": Target(1.07, 1.5),
    "vgg16": Target(1.05, 1.5),
    "gpt": Target(1.05, 500),
    "resnet50": Target(1.15, 1),
    "gpt-all": Target(1.40, 1),
    "gpt124m": Target(1.10, 1),
    "d4096": Target(1.30, 1),
    "head32k": Target(1.30, 1),
}
# 0.1.50 would take minutes a step, or more memory than there is.
WITHOUT_OLD = {"gpt-all", "gpt124m", "d4096", "head32k"}


class Worker:
    """A process with one of the two versions."""

    def __init__(self, model: str, device: str, threads: int, path: Path | None) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        if path is not None:
            environment["PYTHONPATH"] = str(path)
        self._process = subprocess.Popen(
            [sys.executable, HERE / "overhead_worker.py", model, device, str(threads)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, command: str) -> dict[str, list[float]]:
        """Send a command and wait for the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer: dict[str, list[float]] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@dataclass
class Figures:
    """What was measured of one version."""

    step: float  # ratio, median
    mean: float  # ratio of all steps together
    epoch: float  # seconds
    memory: float  # MiB


def install_old(folder: Path) -> Path:
    """0.1.50 in a folder of its own; what it imports is in this environment already."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--target", str(folder), f"delve=={OLD}"], check=True)
    return folder


def measure(workers: list[Worker], steps: int, epochs: int, clock: int, name: str) -> list[Figures]:
    """Let the workers take turns; ``clock`` is 0 for CPU time and 1 for wall time."""
    tracked: list[list[float]] = [[] for _ in workers]
    plain: list[list[float]] = [[] for _ in workers]
    ends: list[list[float]] = [[] for _ in workers]
    for _ in tqdm(range(epochs), name, unit="epoch", leave=False, disable=None):
        for _ in range(steps):
            for number, worker in enumerate(workers):
                times = worker.ask("step")
                tracked[number].append(times["tracked"][clock])
                plain[number].append(times["plain"][clock])
        for worker, end in zip(workers, ends, strict=True):
            end.append(worker.ask("epoch")["epoch"][1])
    return [
        Figures(
            statistics.median(map(operator.truediv, tracked[number], plain[number])),
            sum(tracked[number]) / sum(plain[number]),
            statistics.median(ends[number]),
            float(worker.ask("memory")["memory"]),
        )
        for number, worker in enumerate(workers)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--steps", type=int, default=10, help="in each epoch")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--old", type=Path, help=f"a folder with delve {OLD}, else it is installed")
    parser.add_argument("--before", type=Path, help=f"a checkout to compare with, not {OLD}")
    parser.add_argument("--alone", action="store_true", help=f"without {OLD}")
    options = parser.parse_args()
    print(
        f"{'':<10}{'step, tracked / untracked':>34}{'end of epoch, s':>25}{'memory, MiB':>16}\n"
        f"{'model':<10}{'target':>8}{OLD:>9}{'now':>8}{'mean':>9}{OLD:>9}{'now':>8}{'times':>8}"
        f"{OLD:>9}{'now':>7}"
    )
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        given = options.before or options.old
        everything = None if options.alone else given or install_old(Path(folder))
        for name in options.models or TARGETS:
            old = None if name in WITHOUT_OLD and not options.before else everything
            workers = [Worker(name, options.device, options.threads, None)]
            if old:
                workers.insert(0, Worker(name, options.device, options.threads, old))
            clock = int(options.device == "cuda")
            *before, now = measure(workers, options.steps, options.epochs, clock, name)
            for worker in workers:
                worker.close()
            missed |= show(name, before[0] if before else None, now)
    return int(missed)


def show(name: str, old: Figures | None, now: Figures) -> bool:
    """Print a row; returns whether a target was missed."""
    target = TARGETS[name]
    faster = old.epoch / now.epoch if old else float("nan")
    missed = now.step > target.step or (old is not None and faster < target.epoch)
    before = (
        (f"{old.step:9.2f}", f"{old.epoch:9.3f}", f"{old.memory:9.0f}")
        if old
        else (f"{'-':>9}", f"{'-':>9}", f"{'-':>9}")
    )
    print(
        f"{name:<10}{target.step:8.2f}{before[0]}{now.step:8.2f}{now.mean:9.2f}{before[1]}"
        f"{now.epoch:8.3f}{faster:8.1f}{before[2]}{now.memory:7.0f}{'  MISSED' if missed else ''}",
        flush=True,
    )
    return missed


if __name__ == "__main__":
    sys.exit(main())
