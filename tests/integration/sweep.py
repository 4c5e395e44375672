"""All sweeps of faults, or one of them: each prints a line of figures.

    python tests/integration/sweep.py --kills 300 --cuts 60 --seed 5
    python tests/integration/sweep.py --only cuts --cuts 200

``clock``: SIGKILL at any moment; ``points``: SIGKILL at chosen ones, inside each writer among
them; ``cuts``: power cuts, which take of the run's folder what was not fsynced; ``faults``: one
fault of the disk at each file operation; ``interrupts``: Ctrl-C at bytecodes of Delve's own code;
``requests``: one fault at each request to MLflow, which takes long and comes only if named. What
was killed is resumed to its end, and each backend is compared with a run that nothing befell.
Exit status 1 means that something differs.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.extend(map(str, Path(__file__).parents[2].glob("delve_plugins/*/tests")))
sys.path.insert(0, str(Path(__file__).parents[1]))

from support.crashed_runs import MOST_KILLS, Bench, draw_any, draw_by_the_clock, opened
from support.cut_runs import MOST_CUTS, cut_one_run
from support.tally import Tally

TESTS = Path(__file__).parents[1]
SWEEPS = ("clock", "points", "cuts", "faults", "interrupts", "requests")
_NAMES = {
    "clock": "kills by the clock",
    "points": "kills at points",
    "cuts": "power cuts",
    "faults": "single faults",
    "interrupts": "interrupts",
    "requests": "request faults",
}

Arguments = argparse.Namespace


def main() -> int:
    """The program; returns its exit status."""
    arguments = _parser().parse_args()
    chosen = arguments.only or [sweep for sweep in SWEEPS if sweep != "requests"]
    differences = 0
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = functools.cache(lambda: stack.enter_context(opened(folder / "bench", _progress)))
        for sweep in SWEEPS:
            if sweep in chosen:
                begun = time.monotonic()
                tally = _sweep(sweep, arguments, folder / sweep, bench)
                print(tally.line(_NAMES[sweep], time.monotonic() - begun), flush=True)
                for difference in tally.differences:
                    print(f"  {difference}", flush=True)
                differences += len(tally.differences)
    return 1 if differences else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="half of them by the clock")
    parser.add_argument("--cuts", type=int, default=60, help="of the power")
    parser.add_argument("--interrupts", type=int, default=100, help="in each of four calls")
    parser.add_argument("--every", type=int, default=1, help="so many file operations one fault")
    parser.add_argument("--minutes", type=float, help="after which no further kill or cut is begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to leave everything")
    parser.add_argument(
        "--only", action="append", choices=SWEEPS, help="this sweep alone; may be given again"
    )
    return parser


def _sweep(sweep: str, arguments: Arguments, folder: Path, bench: Callable[[], Bench]) -> Tally:
    match sweep:
        case "clock" | "points":
            both = not arguments.only or {"clock", "points"} <= set(arguments.only)
            kills = arguments.kills // 2 if both else arguments.kills
            return _kills(bench(), sweep, kills, arguments)
        case "cuts":
            return _crashes(bench(), sweep, arguments.cuts, MOST_CUTS, arguments, cut_one_run)
        case "faults":
            return _faults(folder, arguments.every)
        case "interrupts":
            return _interrupts(folder, arguments.interrupts, arguments.seed)
    return _requests()


def _kills(bench: Bench, sweep: str, kills: int, arguments: Arguments) -> Tally:
    draw = draw_by_the_clock if sweep == "clock" else draw_any

    def crash(bench: Bench, name: str, most: int, rng: random.Random) -> None:
        bench.crash_one_run(name, most, rng, draw)

    return _crashes(bench, sweep, kills, MOST_KILLS, arguments, crash)


def _crashes(
    bench: Bench,
    sweep: str,
    count: int,
    most: int,
    arguments: Arguments,
    crash_one: Callable[[Bench, str, int, random.Random], None],
) -> Tally:
    bench.undisturbed()
    bench.tally = Tally()
    end = time.monotonic() + 60 * (arguments.minutes or 1e6)
    while (left := count - bench.tally.tried.total()) > 0 and time.monotonic() < end:
        name = f"{sweep}-{bench.tally.runs:03d}"
        crash_one(bench, name, min(left, most), random.Random(f"{arguments.seed} {name}"))
    return bench.tally


def _faults(folder: Path, every: int) -> Tally:
    tally = Tally()
    for how in ("new", "resume"):
        command = [sys.executable, "-m", "support.file_faults", str(folder / how), how, str(every)]
        child = subprocess.run(
            command, capture_output=True, text=True, check=False, env=_environment()
        )
        if child.returncode:
            tally.differences.append(f"{how}: {child.stderr.strip()[-2000:]}")
            continue
        result = json.loads(child.stdout)
        tally.runs += result["tried"]
        tally.tried[how] += result["tried"]
        for figure in ("epochs", "lost", "doubled", "stale"):
            setattr(tally, figure, getattr(tally, figure) + result[figure])
        tally.differences += [f"{how}, operation {n}: {w}" for n, w in result["wrong"].items()]
    return tally


def _interrupts(folder: Path, most: int, seed: int) -> Tally:
    from support.bytecodes import Bytecodes
    from support.interrupts import CALLS, Training, faults, points

    tally = Tally()
    for how in CALLS:
        rng = random.Random(f"{seed} {how}")
        for at in points(how, folder / how / "count", most, rng):
            training = Training(folder / how / str(at), how)
            training.run(Bytecodes(at=at))
            tally.runs += 1
            tally.tried[how] += 1
            if found := faults(training, tally=tally):
                tally.differences.append(f"{how}, bytecode {at}: {', '.join(found)}")
    return tally


def _requests() -> Tally:
    tally = Tally()
    plugin = TESTS.parent / "delve_plugins" / "delve-mlflow" / "tests" / "test_faults.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(plugin)]
    child = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=TESTS.parent,
        env=_environment() | {"DELVE_FAULTS": "all"},
    )
    tally.runs = sum(map(int, re.findall(r"(\d+) passed", child.stdout)))
    if child.returncode:
        tally.differences.append(child.stdout.strip()[-4000:])
    return tally


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def _progress(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
