"""A training whose machine loses its power again and again, and what its backends then lack.

Each process dies at a point drawn at random, as in a kill, and of the run's folder stays what
:mod:`support.power_cuts` leaves. Its checkpoints are on a safer disk, MLflow's and W&B's servers
have a supply of their own; where W&B is offline its files are in the folder. What the disk had not
confirmed of the journal is lost: an epoch that the checkpoint presumes must be named then. Every
other one must be everywhere in the end, once, with its values.
"""

from __future__ import annotations

import dataclasses
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

from delve.journal.file import FSYNC_INTERVAL, FSYNC_SHARE
from delve.testing.journals import epochs_in_force, journal_entries, journal_lines, lines_of
from support.crash_points import CrashPoint
from support.crashed_runs import PATIENCE, Bench, CrashedRun, draw_any, numbers_in
from support.disk_notes import Confirmed
from support.power_cuts import OnDisk, PowerCut
from support.seven_writers import BATCHES, EPOCHS, Contents, read_all

MOST_CUTS = 6  # of one run, before it is left to end
_PAUSE = 1.8  # seconds, longer than what may be lost
_SLACK = 0.25  # seconds, between the clock's being read and the line's being written


class CutRun(CrashedRun):
    """One training, through as many power cuts as come.

    Attributes:
        cuts: What each did to which file.
    """

    def __init__(
        self,
        bench: Bench,
        folder: Path,
        rng: random.Random,
        auto: bool | None = None,
        offline: bool | None = None,
    ) -> None:
        super().__init__(bench, folder, rng, auto)
        self.cuts: list[list[str]] = []
        self._before = OnDisk(folder / "before")
        self._before.folder.mkdir()
        self._offline = rng.random() < 0.3 if offline is None else offline
        self._gaps: set[int] = set()  # epochs that a resume presumes and the journal lost
        self._broken: list[str] = []  # promises
        if self._offline:
            self.environment["WANDB_MODE"] = "offline"

    def contents(self) -> Contents:
        """What the backends hold, by their own readers."""
        with self._bench.reading():
            if self._offline and "WANDB_MODE=online delve export" in self._log.read_text():
                self._send()  # as is said there
            server = None if self._offline else self._bench.wandb
            held = read_all(self._folder, self._log, server, damaged=True)
        aside = [place for place in held.arrays if ".damaged" in place]
        for place in aside:  # which was said
            del held.arrays[place]
        return held

    def more_arguments(self) -> dict[str, str]:
        """Where it notes what the disk has confirmed since the last cut."""
        return {"notes": str(self._notes)}

    def note(self, crash: CrashPoint) -> None:
        """The power has gone."""
        super().note(crash)
        run = self._folder / "run"
        run.mkdir(exist_ok=True)
        confirmed = Confirmed.read(self._notes)
        self._broken += broken_promises(run, confirmed, self._before)
        cut = PowerCut(run, self._before, confirmed, self._rng)
        cut.apply()
        self.cuts.append(cut.done)
        self._before.take(run)
        shutil.rmtree(self._notes, ignore_errors=True)
        held = _epochs_in(run)
        self._gaps |= set(range(self._first(held))) - held

    def differences(self, reference: Contents | None) -> list[str]:
        """What is not as in the reference, and what the disk should have had."""
        return [*self._broken, *super().differences(reference)]

    def excused(self, held: Contents) -> set[int]:
        """Epochs that the journal lost and the checkpoint presumed, where that was said."""
        lacking = set(range(EPOCHS)) - {epoch for epoch, *_ in held.points["journal"]}
        return lacking & self._gaps & self._named_as_gaps()

    def may_lack_picture(self, epoch: int) -> bool:
        """Pictures are not fsynced, so that any before the last cut may be gone."""
        return bool(self.cuts)

    def may_show_something_else(self, place: str, held: Contents) -> bool:
        """Of epochs that are gone a heatmap shows nothing; what may be anybody's is named."""
        if place.endswith("heatmap.png") and self.excused(held):
            return True
        text = self._log.read_text(encoding="utf-8", errors="replace")
        named = r"plots/(\S+) (?:was not drawn by|is no whole figure, and stays)"
        return place in re.findall(named, text)

    def has_another_way(self) -> bool:
        """Where the journal cannot tell the epoch, the user gives the checkpoint's number."""
        if not self._auto or "give initial_epoch as a number" not in self._tail():
            return False
        self._auto = False
        self._gaps |= set(range(self._first(set()))) - _epochs_in(self._folder / "run")
        return True

    def _send(self) -> None:
        """Send the W&B run to the server, which local files that are gone make necessary."""
        self._offline = False
        subprocess.run(
            [sys.executable, "-m", "delve", "export", str(self._folder / "run"), "--to", "wandb"],
            env=self._bench.nursery.environment,
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )

    @property
    def _notes(self) -> Path:
        return self._folder / "notes"

    def _first(self, held: set[int]) -> int:
        """Where the run will go on."""
        if not self._auto:
            saved = self._folder.glob("checkpoint-*.pt")
            return max((int(path.stem.rpartition("-")[2]) for path in saved), default=0)
        lines = journal_lines(self._folder / "run", damaged=True) if held else ()
        resumed = [line["epoch"] for line in lines if line["type"] == "resume"]
        return max([max(held, default=-1) + 1, *resumed[-1:]])

    def _named_as_gaps(self) -> set[int]:
        text = self._log.read_text(encoding="utf-8", errors="replace")
        ranges = re.findall(r"holds no record of epochs ([\d, -]+);", text)
        return set().union(*map(numbers_in, ranges))


def cut_one_run(bench: Bench, name: str, most_cuts: int, rng: random.Random) -> None:
    """Cut the power of one run at random up to so many times, let it end, and compare it."""
    reference = bench.undisturbed()
    run = CutRun(bench, bench.folder / name, rng)
    run.train(draw_cut(rng) for _ in range(most_cuts))
    found = run.differences(reference)
    if found:
        found += [f"cut {number}: {'; '.join(cut)}" for number, cut in enumerate(run.cuts, 1)]
    bench.take_in(name, run, found)


def draw_cut(rng: random.Random) -> CrashPoint:
    """Where the power goes: at any point of a kill, or some time after the last thing happened."""
    if rng.random() < 0.2:
        return CrashPoint("batch", rng.randint(1, EPOCHS * BATCHES // 2), 0, True, _PAUSE)
    return dataclasses.replace(draw_any(rng), with_descendants=True)


def broken_promises(run: Path, confirmed: Confirmed, before: OnDisk) -> list[str]:
    """Whether the epochs that the disk had not confirmed took longer than it is promised."""
    journal = run / "journal.jsonl"
    if not journal.is_file():
        return []
    content, inode = journal.read_bytes(), journal.stat().st_ino
    size = max(confirmed.sizes.get(inode, 0), len(before.contents.get(inode, b"")))
    safe = epochs_in_force(lines_of(content[:size], damaged=True))
    unsafe = {
        epoch: line["time"] / 1000
        for epoch, line in epochs_in_force(lines_of(content, damaged=True)).items()
        if epoch not in safe
    }
    times = sorted(unsafe.values())[:-1]  # the last may have been under way
    seconds = times[-1] - times[0] if times else 0.0
    if seconds <= max(FSYNC_INTERVAL, confirmed.slowest / FSYNC_SHARE) + _SLACK:
        return []
    return [f"the disk had not confirmed epochs {sorted(unsafe)}, of {seconds:.1f} s"]


def _epochs_in(run: Path) -> set[int]:
    try:
        return set(journal_entries(run, damaged=True))
    except FileNotFoundError:
        return set()
