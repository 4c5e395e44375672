"""Where a signal meets a process: at a chosen step of a chosen call, sent from within."""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from delve.delivery.discovery import load_writer_class
from delve.journal import journal
from delve.stats.computation import Statistics
from support.nursery import descendants

ANY_MOMENT = "any moment"  # somebody else kills the process, after a time

_OPENING = ("start", "resume_from_saved_state")


@dataclass(frozen=True)
class CrashPoint:
    """One point in the life of a process.

    Attributes:
        place: ``batch``, ``checkpoint``, ``statistics``, ``journal`` (a line is appended),
            ``torn line`` (half of it is), ``journal.read``, ``<writer>.<hook>``, where the hook
            ``open`` stands for start and resume, or ``any moment``.
        occurrence: The process dies at this one of the calls there, counted from 1.
        steps: After so many calls and returns of functions inside, be they Python's or C's; when
            the call ends, at the latest.
        with_descendants: Whether processes that it started die with it.
        pause: Seconds for which nothing happens before.
    """

    place: str
    occurrence: int
    steps: int
    with_descendants: bool
    pause: float = 0.0

    def arm(self) -> None:
        """Have this process die there."""
        count = _Count(self)
        match self.place.split("."):
            case ["batch" | "checkpoint"]:
                _named_points[self.place] = count
            case ["statistics"]:
                count.watch(Statistics, "compute")
            case ["journal"]:
                count.watch(journal.Journal, "_append")
            case ["torn line"]:
                self._tear_line(count)
            case ["journal", "read"]:
                count.watch(journal, "read_contents")
            case [writer, "open"]:
                for hook in _OPENING:
                    count.watch(load_writer_class(writer), hook)
            case [writer, hook]:
                count.watch(load_writer_class(writer), hook)

    def die(self) -> None:
        """End the process as a crash does: nothing of it runs any more."""
        sys.setprofile(None)
        time.sleep(self.pause)
        if self.with_descendants:
            for pid in descendants(os.getpid()):
                os.kill(pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def _tear_line(self, count: _Count) -> None:
        append = journal.Journal._append
        write = os.write

        def write_half(file: int, data: Any) -> int:
            write(file, data[: 1 + self.steps % max(1, len(data) - 1)])
            self.die()
            return 0

        def append_or_die(self_: journal.Journal, entry: Any) -> None:
            if count.is_here():
                os.write = write_half
            append(self_, entry)

        journal.Journal._append = append_or_die  # type: ignore[assignment]


class Interruption(CrashPoint):
    """A point at which SIGINT arrives instead, as Ctrl-C sends it."""

    def die(self) -> None:
        """Interrupt what is being done."""
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)


class _Count:
    """Counts the calls of what it watches, and ends the process in the chosen one."""

    def __init__(self, point: CrashPoint) -> None:
        self._point = point
        self._calls = 0

    def is_here(self) -> bool:
        self._calls += 1
        return self._calls == self._point.occurrence

    def reached(self) -> None:
        if self.is_here():
            self._point.die()

    def watch(self, owner: Any, name: str) -> None:
        original = getattr(owner, name, None)
        if original is not None:
            setattr(owner, name, self._wrapped(original))

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if not self.is_here():
                return original(*arguments, **named)
            self._die_after_steps()
            try:
                return original(*arguments, **named)
            finally:
                self._point.die()

        return wrapped

    def _die_after_steps(self) -> None:
        left = self._point.steps

        def step(*_: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                self._point.die()

        sys.setprofile(step)


_named_points: dict[str, _Count] = {}


def reached(place: str) -> None:
    """The program is at a place of this name."""
    if place in _named_points:
        _named_points[place].reached()
