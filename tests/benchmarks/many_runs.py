"""What it takes to look at a folder of many runs, beside reading the same bytes with `json.loads`.

    python tests/benchmarks/many_runs.py [--runs N] [--epochs N] [--metrics N] [--rounds N]

Each runs in a process of its own, in turn, so that a machine that slows down slows all of them:
`json.loads` of each line; `delve.load_all`, and the two tables of it; and the command `delve show
FOLDER`, its start included. Seconds are the medians of the rounds: of the processor, and by the
clock. A ratio is the median of those within a round. A missed target is marked and makes the exit
status 1.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from delve.journal.journal import Journal
from delve.records import EpochRecord, Metric

CODE = Path(__file__).parents[2]
BEGUN = 1_700_000_000_000  # in milliseconds since 1970
STATS = ("saturation", "intrinsic-dimensionality", "effective-rank", "participation-ratio")
SCALARS = ("loss", "accuracy", "val/loss", "val/accuracy", "lr", "grad_norm", "seconds", "memory")

MEASURED = """
import sys, time
folder = sys.argv[1]
{imports}
begun = time.process_time(), time.perf_counter()
{work}
print("measured", time.process_time() - begun[0], time.perf_counter() - begun[1])
"""
JSON = MEASURED.format(
    imports="import json, pathlib",
    work="""
for path in pathlib.Path(folder).rglob("journal.jsonl"):
    with path.open("rb") as file:
        for line in file:
            json.loads(line)
""",
)
LOAD = MEASURED.format(imports="import delve; delve.load_all", work="delve.load_all(folder)")
TABLES = MEASURED.format(
    imports="import delve, pandas; delve.load_all",
    work="""
runs = delve.load_all(folder)
layers, scalars = runs.layers, runs.scalars
""",
)
SHOW = "import sys; from delve.cli import main; main(['show', *sys.argv[1:]])"


@dataclass(frozen=True)
class Case:
    """One thing that is done with the folder.

    Attributes:
        name: What it is called.
        script: What a process of Python runs.
        most: The most that it may take, as a multiple of `json.loads`; None: whatever it takes.
    """

    name: str
    script: str
    most: float | None = None


CASES = (
    Case("json.loads", JSON),
    Case("load_all", LOAD, 3),
    Case("load_all, tables", TABLES),
    Case("delve show", SHOW, 6),
)


def make_runs(folder: Path, runs: int, epochs: int, metrics: int) -> None:
    """Journals as a sweep leaves them: mostly of layers, and a few scalars."""
    scalars = SCALARS[: max(1, metrics // 10)]
    keys = metric_names(metrics - len(scalars))
    layers = list(dict.fromkeys(key.layer for key in keys))
    features = dict.fromkeys(layers, 64)
    draw = random.Random(0).random
    for number in tqdm(range(runs), "making runs", unit="run", leave=False, disable=None):
        config = {"lr": 10 ** -(1 + number % 5), "seed": number // 5}
        place = folder / f"lr={config['lr']:g}" / f"seed{config['seed']}"
        place.mkdir(parents=True)
        journal = Journal.create(place, layers, config)
        journal.begin()
        for epoch in range(epochs):
            own = {name: draw() for name in scalars}
            values = {key: draw() for key in keys}
            record = EpochRecord(epoch, BEGUN + 60_000 * epoch, own, values, features=features)
            journal.write_epoch(record, layers)
        journal.end(None)
        journal.close()


def metric_names(count: int) -> list[Metric]:
    """So many statistics of layers as a ResNet has them, in both modes."""
    each = [(mode, stat) for mode in ("train", "eval") for stat in STATS]
    layers = [
        f"layer{n // 4 % 4 + 1}.{n // 16}.conv{n % 4 + 1}" for n in range(-(-count // len(each)))
    ]
    return [Metric(mode, stat, layer) for mode, stat in each for layer in layers][:count]


def measure(case: Case, folder: Path) -> tuple[float, float]:
    """Seconds of the processor and of the clock: what a script tells, or those of its process."""
    plugins = (CODE / "delve_plugins").glob("delve-*/src")
    paths = os.pathsep.join(map(str, (CODE, *plugins)))
    command = [sys.executable, "-c", case.script, str(folder)]
    before, begun = os.times(), time.perf_counter()
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        cwd=CODE,
        capture_output=True,
        text=True,
        check=True,
    )
    wall, after = time.perf_counter() - begun, os.times()
    told = re.findall(r"^measured (\S+) (\S+)$", done.stdout, re.MULTILINE)
    if told:
        return float(told[0][0]), float(told[0][1])
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system, wall


def main() -> int:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--metrics", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    taken: dict[Case, list[tuple[float, float]]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_runs(folder, options.runs, options.epochs, options.metrics)
        size = sum(path.stat().st_size for path in folder.rglob("journal.jsonl"))
        print(
            f"{options.runs} runs x {options.epochs} epochs x {options.metrics} metrics", end=", "
        )
        print(f"{size / 1e6:.0f} MB, {options.rounds} rounds")
        for _ in tqdm(range(options.rounds), "rounds", leave=False, disable=None):
            for case in CASES:
                taken[case].append(measure(case, folder))
    return print_table(taken)


def print_table(taken: Mapping[Case, Sequence[tuple[float, float]]]) -> int:
    """A row for each case; 1 where one missed its target."""
    base, *_ = taken.values()
    print(f"{'':18}{'target':>8}{'processor':>12}{'ratio':>7}{'clock':>12}{'ratio':>7}")
    missed = False
    for case, times in taken.items():
        cells, worst = "", 0.0
        for kind in (0, 1):
            pairs = zip(times, base, strict=True)
            ratio = statistics.median(one[kind] / other[kind] for one, other in pairs)
            seconds = statistics.median(one[kind] for one in times)
            cells += f"{seconds:>10.2f} s{ratio:>7.2f}"
            worst = max(worst, ratio)
        late = case.most is not None and worst > case.most
        missed |= late
        target = "" if case.most is None else f"{case.most:g}"
        print(f"{case.name:18}{target:>8}{cells}{'  MISSED' if late else ''}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
