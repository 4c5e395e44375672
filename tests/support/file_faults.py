"""One fault of the disk at each file operation of a run: run as a program, it prints what came.

    python -m support.file_faults FOLDER new|resume [EVERY [FIRST]]

Operations are those that Python audits (open, rename, remove, link, mkdir, truncate, listing), and
the journal's own writes. The one that fails raises OSError(EIO) once.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from delve import SaturationTracker
from delve.errors import DelveError
from delve.journal.stored_run import read_run
from support.installed_writers import implements, installed, reader, stored
from support.tally import Tally

EPOCHS = 4
NUMERIC = [name for name in installed() if implements(name, "held_epochs")]  # on this machine
WRITERS = [*NUMERIC, "plot"]

_OPERATIONS = {
    "open": 0,
    "os.rename": 1,
    "os.remove": 0,
    "os.link": 1,
    "os.mkdir": 0,
    "os.rmdir": 0,
    "os.truncate": 0,
    "os.listdir": 0,
    "os.scandir": 0,
}


class Faults:
    """Counts the operations below a folder, and fails one of them."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.at: int | None = None
        self.operations: list[str] = []
        sys.addaudithook(self._audit)
        for name in ("write", "fsync", "pread"):  # which Python does not audit
            setattr(os, name, self._wrapped(name, getattr(os, name)))

    @contextlib.contextmanager
    def below(self, folder: Path, at: int | None) -> Iterator[None]:
        """Fail operation ``at`` of those below ``folder``; None counts alone."""
        self.operations, self.at, self.folder = [], at, str(folder)
        try:
            yield
        finally:
            self.folder = None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        place = _OPERATIONS.get(event)
        if place is None or self.folder is None or not isinstance(arguments[place], str | Path):
            return
        path = str(arguments[place])
        if path.startswith(self.folder):
            self._count(f"{event} {path[len(self.folder) :]}", path)

    def _wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if self.folder is not None:
                self._count(f"os.{name}")
            return original(*arguments)

        return call

    def _count(self, operation: str, *path: str) -> None:
        self.operations.append(operation)
        if len(self.operations) - 1 == self.at:
            raise OSError(errno.EIO, "a fault for once", *path)


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def train(folder: Path, first: int, last: int) -> None:
    """Record the epochs from ``first`` until before ``last``."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    tracker = SaturationTracker(
        folder, WRITERS, {"fc": layer}, initial_epoch=first, nosave=True, stats=["lsat", "trc"]
    )
    for epoch in range(first, last):
        layer(torch.randn(16, 3, generator=torch.Generator().manual_seed(epoch)))
        tracker.add_scalar("loss", 1 / (epoch + 1))
        tracker.add_saturations()
    tracker.close()


def faults_in(folder: Path, tally: Tally) -> list[str]:
    """The backends that do not hold each epoch once, with its values."""
    expected = {epoch: 1 / (epoch + 1) for epoch in range(EPOCHS)}
    found = []
    for name in ("journal", *NUMERIC):
        keep = functools.partial(stored, name) if name in NUMERIC else float
        wanted = {epoch: keep(value) for epoch, value in expected.items()}
        answer = _answer(functools.partial(_held, name) if name in NUMERIC else _journal, folder)
        if answer != wanted:
            found.append(f"{name}: {answer}")
        rows = {} if isinstance(answer, str) else answer
        points = [(epoch, "loss", value) for epoch, value in rows.items()]
        tally.count(points, {epoch: {"loss": value} for epoch, value in wanted.items()})
    return found


def _answer(read: Callable[[Path], Any], folder: Path) -> Any:
    try:
        return read(folder)
    except Exception as error:  # what cannot be read does not hold it
        return repr(error)


def _journal(folder: Path) -> dict[int, float]:
    records = read_run(folder).records
    assert all(len(record.metrics) == 2 for record in records)
    return {record.epoch: record.scalars["loss"] for record in records}


def _held(name: str, folder: Path) -> dict[int, float]:
    points = [(epoch, value) for epoch, metric, value in reader(name)(folder) if metric == "loss"]
    assert len(dict(points)) == len(points), f"an epoch twice: {points}"
    return dict(points)


def sweep(root: Path, how: str, every: int, first: int) -> dict[str, Any]:
    """Try a fault at every so many operations; returns what went wrong at which."""
    faults, wrong = Faults(), {}
    log, tally = _Log(), Tally()
    logging.getLogger("delve").addHandler(log)
    start = 0 if how == "new" else 2
    template = root / "template"
    if how == "resume":
        train(template, 0, 3)
    else:
        template.mkdir(parents=True)

    def attempt(at: int | None) -> tuple[Path, str | None]:
        folder = root / f"run-{at}"
        shutil.copytree(template, folder)
        if how == "resume":  # the same run in another place would be a copy
            shutil.rmtree(root / "run", ignore_errors=True)
            template_again = root / "run"
            shutil.copytree(template, template_again)
            shutil.rmtree(folder)
            folder = template_again
        error = None
        with faults.below(folder, at):
            try:
                train(folder, start, EPOCHS)
            except DelveError as refused:
                error = f"{type(refused).__name__}: {refused}"
        if error:  # the user tries again
            log.lines.append(error)
            train(folder, start, EPOCHS)
        return folder, error

    attempt(None)
    count = len(faults.operations)
    for at in range(first, count, every):
        log.lines.clear()
        try:
            folder, _ = attempt(at)
            problems = faults_in(folder, tally)
        except Exception as error:
            problems = [f"raised {error!r}"]
        if problems:
            wrong[at] = {"at": faults.operations[at], "wrong": problems, "log": list(log.lines)}
        shutil.rmtree(root / f"run-{at}", ignore_errors=True)
    figures = {"epochs": tally.epochs, "lost": tally.lost, "doubled": tally.doubled}
    return {
        "operations": count,
        "tried": len(range(first, count, every)),
        "wrong": wrong,
        **figures,
        "stale": tally.stale,
    }


if __name__ == "__main__":
    folder, how, *rest = sys.argv[1:]
    every, first = [*map(int, rest), *(1, 0)[len(rest) :]]
    print(json.dumps(sweep(Path(folder), how, every, first)))
