"""The runs that a command is given: read, named, and what their journals have lost."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from delve.base.printable import printable
from delve.cli.terminal import say
from delve.errors import ArgumentError, JournalError
from delve.journal.finding import find_runs
from delve.journal.reading import JOURNAL_NAME
from delve.journal.stored_run import StoredRun, read_run
from delve.records import EpochRecord, Metric, enumerate_epochs, enumerate_spans, shortened

_DEPTHS = ("*", "*/*")  # below a folder, where its runs are looked for
_MOST_NAMED = 5  # of the runs in a folder


@dataclass(frozen=True)
class Damage:
    """What cannot be read of a journal.

    Attributes:
        lines: The numbers of the lines, from 1.
        missing: The epochs below the last one that are not there, as first and last of each gap.
    """

    lines: tuple[int, ...]
    missing: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        """In words, such as ``journal line 3; missing: epochs 1-2``; empty where all is well."""
        if not self.lines:
            return ""
        told = f"journal {counted('line', enumerate_epochs(self.lines))}"
        gaps = enumerate_spans(self.missing)
        return f"{told}; missing: {counted('epoch', gaps)}" if gaps else told


def read_recorded(folder: Path) -> StoredRun:
    """Read a run.

    Raises:
        ArgumentError: The folder is no run, but holds some, which are named.
        JournalError: It holds none, or the journal cannot be read.
    """
    try:
        return read_run(folder)
    except JournalError as error:
        inside = [] if (folder / JOURNAL_NAME).exists() else _runs_inside(folder)
        if not inside:
            raise
        named = shortened([*map(str, inside)], _MOST_NAMED)
        raise ArgumentError(
            f"{folder} is no run itself, but holds runs; name one: {named}"
        ) from error


def runs_below(folders: Sequence[Path]) -> dict[Path, str]:
    """The runs in folders that are none themselves, and what each is called; runs are their own.

    They are called by their paths below the folder, with the folder's own where two would be called
    the same; in natural order within a folder. Empty where no folder holds any.
    """
    found = {folder: _below(folder) for folder in folders}
    if not any(found.values()):
        return {}
    named = {
        run: (run.relative_to(folder).as_posix() if run != folder else str(folder), str(run))
        for folder, runs in found.items()
        for run in runs or [folder]
    }
    times = Counter(short for short, _ in named.values())
    return {run: short if times[short] == 1 else long for run, (short, long) in named.items()}


def _below(folder: Path) -> list[Path]:
    return [] if (folder / JOURNAL_NAME).exists() or not folder.is_dir() else find_runs(folder)


def with_printable_layers(run: StoredRun) -> StoredRun:
    """The run with names of layers that can be drawn."""

    def named(record: EpochRecord) -> EpochRecord:
        metrics = {
            Metric(m.mode, m.stat, printable(m.layer)): value for m, value in record.metrics.items()
        }
        few = {mode: [*map(printable, some)] for mode, some in record.few_samples.items()}
        return replace(record, metrics=metrics, few_samples=few)

    return replace(run.with_each(named), layers=tuple(map(printable, run.layers)))


def find_damage(run: StoredRun) -> Damage:
    """What cannot be read of a run's journal."""
    pairs = itertools.pairwise([-1, *run.epochs])
    gaps = [(before + 1, after - 1) for before, after in pairs if after - before > 1]
    return Damage(run.damaged_lines, tuple(gaps) if run.damaged_lines else ())


def warn_of_damage(*runs: StoredRun) -> None:
    """Say on stderr what cannot be read of the runs' journals."""
    for run in runs:
        if damage := str(find_damage(run)):
            say(f"Warning: {run.folder}: damaged: {damage}", err=True)


def run_names(runs: Sequence[StoredRun]) -> list[str]:
    """A printable name for each run: its folder's, with as many parents as tell the runs apart."""
    paths = [run.folder.resolve().parts for run in runs]
    depth = 1
    while len({path[-depth:] for path in paths}) < len(set(paths)):
        depth += 1
    return [printable("/".join(path[-depth:])) for path in paths]


def counted(word: str, numbers: str) -> str:
    """``epoch 2`` or ``epochs 0-2, 5``: a list of numbers with the word before it."""
    return f"{word} {numbers}" if numbers.isdecimal() else f"{word}s {numbers}"


def _runs_inside(folder: Path) -> list[Path]:
    return [
        path.parent for depth in _DEPTHS for path in sorted(folder.glob(f"{depth}/{JOURNAL_NAME}"))
    ]
