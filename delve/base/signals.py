"""Signals wait while a state changes, so that no handler meets a run that is half recorded.

A handler such as the one behind Ctrl-C, or one for SIGTERM that closes the tracker and exits, runs
between any two operations of Python. Within :func:`held` handlers that Python calls are put off to
the end of the block. Where the block waits for somebody else, :func:`interruptible` bounds that: a
handler comes in there after :data:`GRACE`, or at once when its signal comes a second time.

Nothing is installed for longer than a block lasts, and outside of the main thread, where Python
runs no handlers, nothing at all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

GRACE = 1.5  # seconds that a handler waits for somebody else's call to end

Handler = Callable[[int, FrameType | None], Any]


class _Hold:
    """What is held back in the main thread, and how deep the blocks are nested."""

    def __init__(self) -> None:
        self.depth = 0
        self.waits = 0  # for somebody else, nested
        self.handling = 0  # handlers that came in during such a wait
        self.pending: dict[int, float] = {}  # signals, and when each came first
        self.reminded: dict[int, float] = {}  # signals that are to be sent again, as in pending
        self.reminders: set[int] = set()  # those that were, and have not come yet
        self.sending = threading.RLock()  # a handler may come in that ends a block too
        self.handlers: dict[int, Handler] = {}  # those in whose place the stand-in is


_hold = _Hold()
_SIGNALS = tuple(sorted(signal.valid_signals() - {signal.SIGABRT, signal.SIGSEGV}))


def is_handling() -> bool:
    """Whether the caller is a handler that came in while somebody else was waited for."""
    return _hold.handling > 0 and _in_main_thread()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Put off the handlers of signals to the end of the outermost block."""
    if not _in_main_thread():
        yield
        return
    outside = _hold.depth
    if not outside:
        _stand_in()
    try:
        _hold.depth = outside + 1
        yield
    finally:
        _hold.depth = outside
        if not outside:
            _run_pending()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within :func:`held`, wait for somebody else: handlers come in after a while."""
    if not _hold.depth or not _in_main_thread():
        yield
        return
    outside = _hold.waits
    try:
        _hold.waits = outside + 1
        for number, since in tuple(_hold.pending.items()):
            if time.monotonic() - since >= GRACE:
                _come_in(number, sys._getframe())
            else:
                _remind(number, since)
        yield
    finally:  # also where a handler comes in at the very edge
        _hold.waits = outside


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _stand_in() -> None:
    """Put :func:`_take` in the place of each handler that Python calls."""
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler) and handler is not _take:
            _hold.handlers[number] = handler
            signal.signal(number, _take)


def _take(number: int, frame: FrameType | None) -> None:
    """Take a signal in the place of its handler."""
    is_reminder = number in _hold.reminders
    _hold.reminders.discard(number)
    if is_reminder and number not in _hold.pending:
        return
    is_due = number in _hold.pending  # it comes a second time, or again after a while
    since = _hold.pending.setdefault(number, time.monotonic())
    if not _hold.depth:  # a block has just ended
        _run_pending()
    elif _hold.waits and is_due:
        _come_in(number, frame)
    elif _hold.waits:
        _remind(number, since)


def _come_in(number: int, frame: FrameType | None) -> None:
    """Run a handler inside of somebody else's call."""
    if _hold.pending.pop(number, None) is None:
        return
    waits, handling = _hold.waits, _hold.handling
    try:
        _hold.waits, _hold.handling = 0, handling + 1
        _hold.handlers[number](number, frame)
    finally:
        _hold.waits, _hold.handling = waits, handling


def _remind(number: int, since: float) -> None:
    """Have the signal come again when it has waited long enough.

    As a signal of the system it ends what the main thread waits in, which a flag would not.
    """
    main = threading.main_thread().ident
    if _hold.reminded.get(number) == since or main is None or not hasattr(signal, "pthread_kill"):
        return
    _hold.reminded[number] = since

    def send() -> None:
        with _hold.sending:
            if _hold.waits and _hold.pending.get(number) == since:
                _hold.reminders.add(number)
                signal.pthread_kill(main, number)

    timer = threading.Timer(max(0.0, since + GRACE - time.monotonic()), send)
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # no thread is to be had: it comes in at the next call
        timer.start()


def _run_pending() -> None:
    """Put the handlers back, and run those whose signals have come."""
    try:
        _await_reminders()
        for number, handler in tuple(_hold.handlers.items()):
            if signal.getsignal(number) is _take:  # nobody has set another since
                signal.signal(number, handler)
    finally:
        while _hold.pending:
            number = next(iter(_hold.pending))
            del _hold.pending[number]
            try:
                _hold.handlers[number](number, sys._getframe())
            except BaseException:
                if _hold.pending:
                    _run_pending()
                raise


def _await_reminders() -> None:
    """Let a reminder that is on its way arrive: it must not meet the handler itself."""
    with _hold.sending:  # no further one is sent: nothing waits any more
        pass
    patience = 100
    while _hold.reminders and patience:
        patience -= 1
        time.sleep(0.001)
    _hold.reminders.clear()


def _after_fork() -> None:
    """A child's signals are its own; one that is forked in a block has its handlers back."""
    for number, handler in _hold.handlers.items():
        if signal.getsignal(number) is _take:
            signal.signal(number, handler)
    _hold.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
