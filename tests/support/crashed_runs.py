"""A training that is killed and resumed until it ends, and what its backends then lack.

SIGKILL ends it at points drawn at random: between batches, while statistics are computed, inside
the journal's writing, inside each writer (at any call of a function, Python's or C's), while a
checkpoint is saved, inside start, resume and close, or at any moment by a timer.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from mlflow_server import MLflowServer
from wandb_server import WandbServer

from delve.files.epoch_files import epoch_of
from delve.testing import journal_entries
from delve.testing.rows import differences
from support.crash_points import ANY_MOMENT, CrashPoint
from support.installed_writers import implements, stored
from support.nursery import Nursery
from support.seven_writers import (
    ATTEMPT,
    BATCHES,
    CHECKPOINT_EVERY,
    EPOCHS,
    MODULES,
    WRITERS,
    Contents,
    read_all,
)
from support.tally import Tally

MOST_KILLS = 8  # of one run, before it is left to end
PATIENCE = 600.0  # seconds after which a process counts as hanging, however busy the machine is
LONGEST_TIMER = 3.0  # seconds, or as long as a process lives
MOST_STEPS = 5000

Places = Mapping[str, Sequence[str]]


def places_of(writers: Iterable[str]) -> Places:
    """Where a process can be killed, by kind: in the core, and in each method of each writer."""

    def inside(*hooks: str) -> list[str]:
        name = "open" if "start" in hooks else hooks[0]
        return [f"{each}.{name}" for each in sorted(writers) if implements(each, *hooks)]

    return {
        "inside an epoch": ["batch", "statistics", "checkpoint", *inside("add_scalar")],
        "inside save": ["journal", "torn line", *inside("add_scalars")],
        "inside a writer's save": [*inside("add_array"), *inside("save")],
        "inside start or resume": ["journal.read", *inside("start", "resume_from_saved_state")],
        "inside close": inside("close"),
        ANY_MOMENT: [ANY_MOMENT],
    }


PLACES = places_of(WRITERS)


def report(tally: Tally) -> str:
    """What a bench has done and found, in a few lines."""
    by_group = Counter(
        {g: sum(tally.tried[place] for place in places) for g, places in PLACES.items()}
    )
    lines = [
        f"kills:           {tally.tried.total()} in {tally.runs} runs "
        f"({', '.join(f'{count} {group}' for group, count in by_group.items() if count)})",
        f"resumes:         {tally.resumes}",
        f"epochs compared: {tally.epochs}, with {tally.values} values: {tally.lost} lost, "
        f"{tally.doubled} doubled, {tally.stale} stale",
        f"backends:        journal, {', '.join(WRITERS)}",
        f"arrays lost:     {tally.named}, each named by the resumed run",
        f"differences:     {len(tally.differences)}",
    ]
    return "\n".join([*lines, *(f"  {difference}" for difference in tally.differences)])


class Bench:
    """The servers and the parent of all trainings.

    Args:
        folder: Where everything is written.
        nursery: The parent.
        mlflow: MLflow's server, None where the writer is not among those tried.
        wandb: The W&B server, likewise.
        say: What to do with a line about the progress.
        writers: The writers that are tried.
    """

    def __init__(
        self,
        folder: Path,
        nursery: Nursery,
        mlflow: MLflowServer | None,
        wandb: WandbServer | None,
        say: Callable[[str], None],
        writers: Sequence[str] = WRITERS,
    ) -> None:
        self.writers = writers
        self.folder = folder
        self.nursery = nursery
        self.mlflow = mlflow
        self.wandb = wandb
        self.tally = Tally()
        self.longest_timer = LONGEST_TIMER
        self._say = say
        self._reference: Contents | None = None

    def crash_one_run(
        self,
        name: str,
        most_kills: int,
        rng: random.Random,
        draw: Callable[[random.Random], CrashPoint] | None = None,
    ) -> None:
        """Kill one run at random up to so many times, let it end, and compare it."""
        reference = self.undisturbed()
        run = CrashedRun(self, self.folder / name, rng)
        run.train((draw or self._draw)(rng) for _ in range(most_kills))
        self.take_in(name, run, run.differences(reference))

    def _draw(self, rng: random.Random) -> CrashPoint:
        return draw_any(rng, places_of(self.writers))

    def take_in(self, name: str, run: CrashedRun, found: list[str]) -> None:
        """Note what a run has shown, and say it."""
        self.tally.runs += 1
        self.tally.differences += [f"{name}: {difference}" for difference in found]
        self._say(f"{name}: {', '.join(run.places) or 'no kill'}: {'; '.join(found) or 'the same'}")

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """MLflow's functions read from its server; if that is dead they do not wait for long."""
        if not self.mlflow:
            return contextlib.nullcontext()
        return _environment(
            {"MLFLOW_TRACKING_URI": self.mlflow.url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        )

    @functools.cached_property
    def reference_run(self) -> CrashedRun:
        """A run that nobody kills."""
        begun = time.monotonic()
        run = CrashedRun(self, self.folder / "undisturbed", random.Random(0))
        run.train([])
        self.longest_timer = max(LONGEST_TIMER, time.monotonic() - begun)
        return run

    def undisturbed(self) -> Contents:
        """What the backends hold of a run that nobody kills."""
        if self._reference is None:
            if found := self.reference_run.differences(None):
                raise RuntimeError(f"the undisturbed run is not as it should be: {found}")
            self._reference = self.reference_run.contents()
            self.tally = Tally()
        return self._reference


class CrashedRun:
    """One training, in as many processes as its kills make necessary."""

    def __init__(
        self, bench: Bench, folder: Path, rng: random.Random, auto: bool | None = None
    ) -> None:
        self.places: list[str] = []
        self._bench = bench
        self._folder = folder
        self._rng = rng
        self._log = folder / "log.txt"
        self._writers = rng.sample(bench.writers, len(bench.writers))
        # Whether it goes on where the journal ends.
        self._auto = rng.random() < 0.5 if auto is None else auto
        self._last_epochs: set[int] = set()  # in the journal when a process died
        self._faults: list[str] = []
        self.environment: dict[str, str] = {}  # of the training, beside what all have
        folder.mkdir()

    def train(self, crashes: Iterable[CrashPoint]) -> None:
        """Crash once at each of these points, then train to the end, if not one comes too late."""
        for attempt, crash in enumerate([*crashes, None]):
            status = self._run_once(attempt, crash)
            if status == 1 and self.has_another_way():
                status = self._run_once(attempt, crash)
            if status == 0:
                return
            if status != -signal.SIGKILL or crash is None:
                self._faults.append(f"process {attempt} ended with status {status}: {self._tail()}")
                return
            self.note(crash)

    def may_show_something_else(self, place: str, held: Contents) -> bool:
        """Whether a picture may differ from the reference's."""
        return False

    def has_another_way(self) -> bool:
        """Whether there is something to do about an error that a process has ended with."""
        return False

    def contents(self) -> Contents:
        """What the backends hold, by their own readers."""
        with self._bench.reading():
            writers = self._bench.writers
            return read_all(self._folder, self._log, self._bench.wandb, writers=writers)

    def differences(self, reference: Contents | None) -> list[str]:
        """What is not as in the reference; without one, what the backends differ in."""
        if self._faults:
            return self._faults
        try:
            held = self.contents()
        except Exception as error:  # whatever a backend cannot read is a finding
            return [f"{type(error).__name__}: {error}"]
        found = [f"{name} run: {state}" for name, state in held.remote_states.items()]
        found += self._in_numbers(held, reference or _from_journal(held))
        if reference is not None:
            found += [*self._in_arrays(held, reference), *self._in_pictures(held, reference)]
        return found

    def more_arguments(self) -> dict[str, str]:
        """What else the training is told."""
        return {}

    def _run_once(self, attempt: int, crash: CrashPoint | None) -> int | None:
        nursery = self._bench.nursery
        pid = nursery.fork(
            "support.seven_writers:train",
            self._log,
            self.environment,
            folder=str(self._folder),
            attempt=attempt,
            writers=self._writers,
            auto=self._auto,
            crash=asdict(crash) if crash else None,
            **self.more_arguments(),
        )
        self._bench.tally.resumes += any(self._folder.glob("checkpoint-*.pt"))
        if crash and crash.place == ANY_MOMENT:
            status = nursery.wait(pid, self._rng.uniform(0, self._bench.longest_timer))
            if status is None:
                nursery.kill(pid, crash.with_descendants)
        status = nursery.wait(pid, PATIENCE)
        if status is None:
            self._faults.append(f"process {attempt} hangs: {self._tail()}")
            nursery.kill(pid, with_descendants=True)
        return status

    def note(self, crash: CrashPoint) -> None:
        """A process has died there."""
        self.places.append(crash.place)
        self._bench.tally.tried[crash.place] += 1
        with contextlib.suppress(FileNotFoundError, ValueError):
            epochs = journal_entries_even_if_torn(self._folder / "run")
            self._last_epochs.add(max(epochs, default=-1))

    def _in_numbers(self, held: Contents, reference: Contents) -> Iterator[str]:
        attempts = {e: {n: v} for e, n, v in held.points["journal"] if n == ATTEMPT}
        excused = self.excused(held)
        for backend, points in held.points.items():
            wanted = _by_epoch(p for p in reference.points[backend] if p[1] != ATTEMPT)
            given = [point for point in points if point[1] != ATTEMPT]
            recorded_by = [p for p in points if p[1] == ATTEMPT and p[0] not in excused]
            if backend == "print":  # what was printed stays, and what a crash kept back is lost
                given = list(dict.fromkeys(_comparable(given)))
                for epoch in self._last_epochs:
                    given = [point for point in given if point[0] != epoch]
                    wanted.pop(epoch, None)
                recorded_by = []
            elif text := differences(recorded_by, attempts):
                yield f"{backend}, which process recorded the epoch: {text}"
            for epoch in excused & wanted.keys():  # what is there of it must be right
                names = {name for at, name, _ in given if at == epoch}
                wanted[epoch] = {n: v for n, v in wanted[epoch].items() if n in names}
            whole = {
                e: {**row, **(attempts.get(e, {}) if recorded_by else {})}
                for e, row in wanted.items()
            }
            self._bench.tally.count([*given, *recorded_by], whole)
            if text := differences(given, wanted):
                yield f"{backend}: {text}"

    def excused(self, held: Contents) -> set[int]:
        """Epochs that need not be anywhere."""
        return set()

    def may_lack_picture(self, epoch: int) -> bool:
        """Whether the picture of an epoch may be gone."""
        return epoch in self._last_epochs

    def _in_arrays(self, held: Contents, reference: Contents) -> Iterator[str]:
        named = self._named_as_lost() | self.excused(held)
        for place in sorted(held.arrays.keys() | reference.arrays.keys()):
            if place not in reference.arrays:
                self._bench.tally.stale += 1
                yield f"npy: {place} is too much"
            elif place in held.arrays:
                if not np.array_equal(held.arrays[place], reference.arrays[place]):
                    self._bench.tally.stale += 1
                    yield f"npy: {place} holds other numbers"
            elif epoch_of(Path(place).name, ".npy") in named:
                self._bench.tally.named += 1
            else:
                self._bench.tally.lost += 1
                yield f"npy: {place} is lost, and nobody said so"

    def _named_as_lost(self) -> set[int]:
        text = self._log.read_text(encoding="utf-8")
        ranges = re.findall(r"stay lost: epochs ([\d, -]+) of", text)
        return set().union(*map(numbers_in, ranges))

    def _in_pictures(self, held: Contents, reference: Contents) -> Iterator[str]:
        tally = self._bench.tally
        for place in sorted(held.pictures.keys() | reference.pictures.keys()):
            epoch = epoch_of(Path(place).name, ".png")
            if place not in reference.pictures:
                tally.stale += 1
                yield f"plot: {place} is too much"
            elif place not in held.pictures:
                if epoch is None or not self.may_lack_picture(epoch):
                    tally.lost += 1
                    yield f"plot: {place} is missing"
            elif not np.array_equal(held.pictures[place], reference.pictures[place]):
                if self.may_show_something_else(place, held):
                    tally.named += 1
                    continue
                tally.stale += 1
                yield f"plot: {place} shows something else"

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-4:])


def journal_entries_even_if_torn(run: Path) -> Iterable[int]:
    """The epochs in the journal of a process that was killed."""
    with contextlib.suppress(ValueError):
        return journal_entries(run)
    whole = (run / "journal.jsonl").read_bytes().rpartition(b"\n")[0]
    return [int(epoch) for epoch in re.findall(rb'"type": "epoch", "epoch": (\d+)', whole)][-1:]


def numbers_in(ranges: str) -> set[int]:
    """The epochs of ``2, 4-6``."""
    edges = [one.split("-") for one in ranges.split(", ")]
    return {n for first, *last in edges for n in range(int(first), int((last or [first])[0]) + 1)}


def draw_any(rng: random.Random, places: Places = PLACES) -> CrashPoint:
    """Where a process is killed: anywhere."""
    group = rng.choice(list(places))
    place = rng.choice(places[group])
    calls = {
        "batch": EPOCHS * BATCHES // 2,
        "checkpoint": EPOCHS // CHECKPOINT_EVERY // 2 + 1,
        "print.add_scalar": 4 * EPOCHS // 2,
        "npy.add_array": 8 * EPOCHS // 2,
    }.get(place, EPOCHS // 2)
    once = group in ("inside start or resume", "inside close")
    return CrashPoint(
        place=place,
        occurrence=1 if once else rng.randint(1, calls),
        steps=int(math.exp(rng.uniform(0, math.log(MOST_STEPS)))),
        with_descendants=rng.random() < 0.5,
    )


def _from_journal(held: Contents) -> Contents:
    """As if every backend held what the journal holds, as exactly as it can."""
    points = held.points["journal"]
    wanted = {"journal": points}
    for name in held.points.keys() - {"journal"}:
        keep = _shown if name == "print" else functools.partial(stored, name)
        wanted[name] = [(epoch, metric, keep(value)) for epoch, metric, value in points]
    return Contents(points=wanted)


def _shown(value: float) -> float:
    return float(f"{value:.6g}")


def _comparable(points: Iterable[tuple[int, str, float]]) -> Iterator[tuple[int, str, float]]:
    """With one NaN for all, which then is equal to itself."""
    return ((e, n, math.nan if math.isnan(v) else v) for e, n, v in points)


def _by_epoch(points: Iterable[tuple[int, str, float]]) -> dict[int, dict[str, float]]:
    rows: dict[int, dict[str, float]] = {}
    for epoch, name, value in points:
        rows.setdefault(epoch, {})[name] = value
    return rows


def draw_by_the_clock(rng: random.Random) -> CrashPoint:
    """Where a process is killed: at any moment."""
    return CrashPoint(ANY_MOMENT, 1, 0, with_descendants=rng.random() < 0.5)


@contextlib.contextmanager
def opened(
    folder: Path, say: Callable[[str], None], writers: Sequence[str] = WRITERS
) -> Iterator[Bench]:
    """A bench with its servers running."""
    folder.mkdir(parents=True, exist_ok=True)
    home = folder / "home"
    home.mkdir()
    with contextlib.ExitStack() as stack:
        mlflow = stack.enter_context(MLflowServer(folder)) if "mlflow" in writers else None
        wandb = stack.enter_context(WandbServer()) if "wandb" in writers else None
        others = ("WANDB_", "MLFLOW_")  # settings of whoever starts the tests
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(others)},
            "HOME": str(home),
            "NETRC": str(home / "netrc"),
            "WANDB_CONFIG_DIR": str(home),
            "WANDB_CACHE_DIR": str(home),
            "WANDB_DATA_DIR": str(home),
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
            "WANDB_PROJECT": "tests",
            **(wandb.environment if wandb else {}),
            **({"MLFLOW_TRACKING_URI": mlflow.url} if mlflow else {}),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        modules = MODULES if mlflow or wandb else MODULES[:1]
        nursery = stack.enter_context(Nursery(modules, environment))
        yield Bench(folder, nursery, mlflow, wandb, say, writers)


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.pop(name, None) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
