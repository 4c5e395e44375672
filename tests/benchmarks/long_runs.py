"""What a run of very many epochs takes to be shown, exported and resumed, in a process each.

    python tests/benchmarks/long_runs.py [--epochs N] [--metrics N] [--code FOLDER ...]

Seconds are the processor's, MiB the most of the whole process, PyTorch included. ``fed`` is a
resume in which a backend gets all epochs from the journal, ``resumed`` the next one, in which it
has them. With several folders of code, such as worktrees of two versions, they take turns.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CODE = Path(__file__).parents[2]
WRITERS = ("csv", "npy", "tensorboard")

MAKE = """
import sys
from pathlib import Path
from delve.journal.journal import Journal
from delve.records import EpochRecord, Metric
import random
folder, epochs, metrics = Path(sys.argv[1]), *map(int, sys.argv[2:])
folder.mkdir()
layers = [f"features.{n}" for n in range(metrics - 1)]
keys = [Metric("train", "saturation", layer) for layer in layers]
journal = Journal.create(folder, layers, {})
for epoch in range(epochs):
    values = {key: random.random() for key in keys}
    record = EpochRecord(epoch, 10**12 + epoch, {"loss": random.random()}, values)
    journal.write_epoch(record, layers)
journal.close()
"""

MEASURED = """
import resource, sys, time
begun = time.process_time()
try:
    {}
except SystemExit:
    pass
taken = time.process_time() - begun
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"measured {{taken:.1f}} {{memory:.0f}}", file=sys.stderr)
"""
COMMAND = MEASURED.format("from delve.cli import main; main(sys.argv[1:])")
RESUME = MEASURED.format(
    """
    from pathlib import Path
    from delve import SaturationTracker
    from torch import nn
    folder, name = sys.argv[1:]
    more = {"patience": 10**6} if "patience" in SaturationTracker.__init__.__kwdefaults__ else {}
    layers = nn.Sequential(nn.Linear(2, 2))
    SaturationTracker(folder, save_to=name, modules=layers, initial_epoch="auto", **more).close()
""".strip()
)


def main() -> None:
    """Print a line for each thing that is done with the run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100_000)
    parser.add_argument("--metrics", type=int, default=48)
    parser.add_argument("--code", type=Path, nargs="+", default=[CODE])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folders = []
        for number in range(len(options.code)):
            folders.append(Path(place) / f"{number}")
            _run(CODE, MAKE, folders[-1], options.epochs, options.metrics)  # all read the same
        print(f"{'':20}" + "".join(f"{code.name[-18:]:>20}" for code in options.code))
        sides = list(zip(options.code, folders, strict=True))
        _print("show", [_run(code, COMMAND, "show", run) for code, run in sides])
        for writer in WRITERS:
            export = [_run(c, COMMAND, "export", run, "--to", writer) for c, run in sides]
            _print(f"export to {writer}"[:20], export)
            for run in folders:
                _clean(run)
            for what in ("fed", "resumed"):
                _print(f"{writer} {what}", [_run(c, RESUME, run, writer) for c, run in sides])


def _clean(run: Path) -> None:
    """Leave the journal's header and epochs alone."""
    for path in run.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "journal.jsonl":
            path.unlink()


def _run(code: Path, script: str, *arguments: object) -> tuple[float, float]:
    plugins = (code / "delve_plugins").glob("delve-*/src")
    paths = os.pathsep.join(map(str, (code, *plugins)))
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        cwd=code,
        capture_output=True,
        text=True,
        check=True,
    )
    told = [line.split()[1:] for line in done.stderr.splitlines() if line.startswith("measured ")]
    seconds, memory = map(float, told[0] if told else (0, 0))
    return seconds, memory


def _print(what: str, results: list[tuple[float, float]]) -> None:
    cells = (f"{seconds:.1f} s {memory:5.0f} MiB" for seconds, memory in results)
    print(f"{what:20}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
