"""Kill a training again and again, resume it each time, and compare every backend at its end.

    python tests/integration/crash_bench.py --kills 50 --seed 0

A small training records into all seven writers: MLflow on a real server, W&B on a loopback server.
SIGKILL ends it at random points, and it is resumed from its last checkpoint until it ends. Then
each backend is read with its own reader and compared with a run that nobody killed. Exit status 1
means that something differs.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.extend(map(str, Path(__file__).parents[2].glob("delve_plugins/*/tests")))
sys.path.insert(0, str(Path(__file__).parents[1]))

from support.crashed_runs import MOST_KILLS, opened, report


def main() -> int:
    """The program; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to leave everything")
    arguments = parser.parse_args()
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = stack.enter_context(opened(folder, lambda line: print(line, flush=True)))
        while (left := arguments.kills - bench.tally.tried.total()) > 0:
            name = f"run-{bench.tally.runs:02d}"
            rng = random.Random(f"{arguments.seed} {name}")
            bench.crash_one_run(name, min(left, MOST_KILLS), rng)
    print(f"{report(bench.tally)}\nseconds:         {time.monotonic() - begun:.0f}")
    return 1 if bench.tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())
