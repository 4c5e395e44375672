"""Trainings that end in every way there is, or are interrupted, and some with dead servers.

They run in processes of their own, and leave what the test looks at in ``facts.json``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from delve import SaturationTracker
from delve.delivery import attempts
from delve.delivery.attempts import Attempts
from delve.errors import ArgumentError
from support.crash_points import Interruption
from support.seven_writers import OPTIONS, WRITERS

T = TypeVar("T")

NUMERIC = ("csv", "npy", "tensorboard")
LOCAL = (*NUMERIC, "plot")
INTERRUPTED = 20  # epochs of a training that is interrupted again and again
SAVED = 3  # epochs that are complete when the training ends, or when its server goes away


def end(folder: str, how: str) -> None:
    """Record some epochs and begin another, then end.

    Args:
        folder: The run's folder.
        how: ``normal``, ``exception``, ``exit``, ``exit in error``, ``wait`` (for a signal),
            ``forgotten`` or ``forgotten exception``: nobody calls ``close``.
    """
    _log_plainly()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell has set
    if how.startswith("forgotten"):
        _record(_tracker(folder), SAVED)
        if how == "forgotten exception":
            raise RuntimeError("diverged")
        return
    with _tracker(folder) as tracker:
        _record(tracker, SAVED)
        match how:
            case "normal":
                return
            case "exit":
                sys.exit()
        tracker.add_scalar("half", 0.5)
        match how:
            case "exception":
                raise RuntimeError("diverged")
            case "exit in error":
                sys.exit(3)
            case "wait":
                Path(folder, "waiting").touch()
                time.sleep(60)


def be_interrupted(folder: str, points: list[tuple[str, int, int]], go_on: bool) -> None:
    """Record epochs while SIGINT arrives in the middle of writers' calls.

    Args:
        folder: The run's folder.
        points: In what, at which of its calls, after how many steps inside.
        go_on: Whether the training goes on each time, as in a notebook, and ends well; if not, the
            first interruption ends it.
    """
    _log_plainly()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for place, occurrence, steps in points:
        Interruption(place, occurrence, steps, with_descendants=False).arm()
    interrupted = 0
    with contextlib.suppress(KeyboardInterrupt), _tracker(folder, NUMERIC) as tracker:
        while tracker.epoch < INTERRUPTED:
            try:
                _record(tracker, 1)
            except KeyboardInterrupt:
                interrupted += 1
                if not go_on:
                    raise
    Path(folder, "facts.json").write_text(json.dumps({"interrupted": interrupted}))


def train_with_dead_servers(folder: str, epochs: int) -> None:
    """Record epochs, and note how long each failed attempt took and what was left at the end."""
    _log_plainly()
    failed: list[float] = []
    give_up = Attempts.failed

    def count(self: Any) -> None:
        failed.append(time.monotonic() - self._begun)
        give_up(self)

    Attempts.failed = count
    opening, tracker = _timed(lambda: _tracker(folder))
    recording, _ = _timed(lambda: _record(tracker, epochs))
    closing, _ = _timed(tracker.close)
    _note(folder, {"failed attempts": failed, "opening": opening, "recording": recording}, closing)


def train_while_mlflow_goes_away(folder: str, more: int) -> None:
    """Record epochs, lose MLflow's server, and note how long each call of Delve's then takes.

    Args:
        folder: The run's folder; the file ``waiting`` there says that it is time to stop the
            server, ``go on`` that this was done.
        more: Epochs after that.
    """
    _log_plainly()
    tracker = _tracker(folder, ("mlflow", *NUMERIC))
    _record(tracker, SAVED)
    Path(folder, "waiting").touch()
    while not Path(folder, "go on").exists():
        time.sleep(0.02)
    recording = [_timed(lambda: _record(tracker, 1))[0] for _ in range(more)]
    closing, _ = _timed(tracker.close)
    _note(folder, {"recording": recording}, closing)


def _timed(action: Callable[[], T]) -> tuple[float, T]:
    begun = time.monotonic()
    result = action()
    return time.monotonic() - begun, result


def _note(folder: str, facts: dict[str, Any], closing: float) -> None:
    """Leave them for the test, with what a closed run has left behind."""
    facts |= {
        "closing": closing,
        "threads": [each.name for each in threading.enumerate()],
        "closed at": time.time(),
    }
    Path(folder, "facts.json").write_text(json.dumps(facts))


def fill_the_disk(folder: str, room: int, relieved: bool) -> None:
    """Record into local writers while no file may grow beyond ``room`` bytes.

    Args:
        folder: The run's folder.
        room: In bytes.
        relieved: Whether there is room again for the last epoch.
    """
    _log_plainly()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with _tracker(folder, LOCAL) as tracker, _retrying_at_once():
        _record(tracker, 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
        _record(tracker, 30)
        if relieved:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            _record(tracker, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def lose_the_right_to_write(folder: str) -> None:
    """The folder is read-only for some epochs, and again when the run is resumed."""
    _log_plainly()
    _respect_permissions()
    with _tracker(folder, LOCAL) as tracker, _retrying_at_once():
        _record(tracker, 2)
        _change_modes(Path(folder), 0o555)
        tracker.add_scalar("late", 1.0)  # for its column the table is written anew
        _record(tracker, 3)
        _change_modes(Path(folder), 0o755)
        _record(tracker, 2)
    _change_modes(Path(folder), 0o555)
    for path in Path(folder).rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(Path(folder).rglob("*"))
    try:
        _tracker(folder, LOCAL, initial_epoch=3)
    except ArgumentError as error:
        facts = {"error": str(error), "untouched": before == sorted(Path(folder).rglob("*"))}
        _change_modes(Path(folder), 0o755)
        Path(folder, "facts.json").write_text(json.dumps(facts))


def _respect_permissions() -> None:
    """Also as root: give up the capabilities to pass over files' permissions."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    data = (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    assert libc.capget(header, data) == 0
    for place in range(2):
        data[place] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, data) == 0


def _change_modes(folder: Path, mode: int) -> None:
    for each in (folder, *folder.rglob("*")):
        if each.is_dir():
            each.chmod(mode)


@contextlib.contextmanager
def _retrying_at_once() -> Iterator[None]:
    attempts.FIRST_WAIT = attempts.WAIT_RATIO = 0.0
    yield


def record_names(folder: str, names: list[str], first: int, last: int) -> None:
    """Record some epochs of layers and scalars of these names; no two values are the same."""
    _log_plainly()
    layers = {name: nn.Linear(3, 3) for name in names}
    with SaturationTracker(
        folder, list(WRITERS), layers, initial_epoch=first, stats=["trc", "det", "cov"]
    ) as tracker:
        for epoch in range(first, last):
            torch.manual_seed(epoch)
            for layer in layers.values():
                layer(torch.randn(8, 3))
            for number, name in enumerate(names):
                tracker.add_scalar(name, epoch + 0.001 * number + 10)
            tracker.add_saturations()


_model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


def _tracker(
    folder: str, writers: tuple[str, ...] = WRITERS, initial_epoch: int = 0
) -> SaturationTracker:
    options = {name: given for name, given in OPTIONS.items() if name in writers}
    return SaturationTracker(
        folder, list(writers), _model, writer_args=options, initial_epoch=initial_epoch
    )


def _record(tracker: SaturationTracker, epochs: int) -> None:
    for _ in range(epochs):
        _model(torch.randn(16, 6))
        tracker.add_scalar("loss", 1 / (1 + tracker.epoch))
        tracker.add_saturations()


def _log_plainly() -> None:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", force=True)
