"""A run that is open in this process: its rows, the signals that come in, and its end."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from delve.base import signals
from delve.base.log import get_logger
from delve.capture.hooks import LayerHooks
from delve.delivery.run import Run, SilentRun
from delve.numerics import processes
from delve.records import StagedEpoch, shortened
from delve.tracker import succession
from delve.tracker.arguments import check_no_more, check_scalar, check_scalar_name
from delve.tracker.display import Display
from delve.tracker.endings import what_went_wrong
from delve.tracker.inert import InertTracker
from delve.tracker.steps import StepAxis

logger = get_logger("delve.tracker")  # one name for all that is said of the tracker


class Session:
    """What there is of a tracker between its opening and its end, whatever it gathers.

    Args:
        run: The open run, or its stand-in in a process that does not write.
        folder: The run's folder.
        epoch: The index of the first row.
        steps: The run's x axis.
        hooks: The hooks, to be let go at the end.
        ends_well: Classes of exceptions that are a good end.
        reserved: Names that no scalar of the user's may have.
    """

    def __init__(
        self,
        run: Run | SilentRun,
        folder: Path,
        epoch: int,
        steps: StepAxis,
        hooks: LayerHooks,
        ends_well: tuple[type[BaseException], ...],
        reserved: Container[str],
    ) -> None:
        self._run = run
        self._savefile = folder
        self._epoch = epoch
        self._steps = steps
        self._hooks = hooks
        self._ends_well = ends_well
        self._reserved = reserved
        self._staged = StagedEpoch()
        self._logged: set[str] = set()  # scalars that stand in a row beside layers
        self._closed = False
        self._postponed: list[Callable[[], None]] = []
        self._process = os.getpid()
        self._display = Display()
        if isinstance(run, Run):
            succession.note(folder, self)
        atexit.register(self._close_at_exit)  # before what the writers' backends do at exit

    @property
    def epoch(self) -> int:
        """The current epoch, which is the index of the row that the next :meth:`save` records."""
        return self._epoch

    @property
    def savefile(self) -> Path:
        """The run's folder."""
        return self._savefile

    def add_scalar(self, name: str, value: float, *more: Any, **named: Any) -> None:
        """Log a number of your own for the current epoch; the same name again replaces it.

        Args:
            name: Any text but ``epoch``, the names of layer metrics and, with ``average_sat``,
                those of the averages; nor ``step``, where rows have one.
            value: A number, or a tensor or array of one element.
            more: Nothing: a row has its epoch from the tracker.
            named: Nothing either.

        Raises:
            ArgumentError: The name is taken, the value is not a number, or there is more.
        """
        check_no_more(name, more, named)
        check_scalar_name(name, self._reserved)
        self._steps.check_name(name)
        number = check_scalar(name, value)
        if self._postpones(f"add_scalar({name!r})", lambda: self.add_scalar(name, number)):
            return
        with self._whole():
            self._check_open()
            self._log(name, number)

    def save(self, *, step: int | None = None) -> None:
        """End the epoch: write it to the journal, then to every writer.

        Handlers of signals, Ctrl-C's among them, come in before or after; while a writer keeps it
        waiting, after some 2 seconds. The epoch is recorded then, and the writer is fed it again.

        Args:
            step: The training step of the row, if the run's rows have steps; it rises from row to
                row. None: what was given for the row before, if anything.

        Raises:
            ArgumentError: It is none, or not what the x axis of the run asks for; see
                :meth:`~delve.SaturationTracker.add_saturations`. Nothing was recorded.
        """
        if self._postpones("save()", lambda: self.save(step=step)):
            return
        with self._whole():
            self._check_open()
            given = self._staged.step if step is None else step
            self._save(self._steps.check(given, self._staged.scalars))

    def close(self, error: BaseException | None = None) -> None:
        """End the run; a second call does nothing.

        What was logged since the last :meth:`save` is saved as one more epoch, but dropped after
        an exception that is no good end.

        A handler of a signal may call it at any time. Where it came in while a writer was being
        fed, the run is closed as soon as that call has ended, before an exception of the handler's,
        such as ``SystemExit``, goes on.

        Args:
            error: The exception that ended the training, if one did.
        """
        if self._closed or self._postpones("close()", lambda: self.close(error)):
            return
        error = what_went_wrong(error, self._ends_well)
        if self._is_elsewhere:  # the run is the parent's, which goes on with it
            self._closed = True
            self._hooks.remove()
            return
        self._check_not_feeding()
        with signals.held():
            try:
                self._finish_epoch(error)
            finally:
                self._closed = True
                atexit.unregister(self._close_at_exit)
                self._hooks.remove()
                self._run.close(error)
                self._display.update(self)
                processes.rest()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of a model that holds a tracker, for an average of weights or a checkpoint.
        return InertTracker, (str(self._savefile), self._epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended_well = isinstance(error, SystemExit) and error.code in (None, 0)
        self.close(None if ended_well else error)

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Change state without a handler's coming in; what one has asked for is done at the end."""
        with signals.held():
            try:
                yield
            finally:
                while self._postponed and not self._run.is_feeding:
                    self._postponed.pop(0)()

    def _postpones(self, what: str, call: Callable[[], None]) -> bool:
        """Whether a handler of a signal has come in where a writer is fed, and has to wait."""
        if not (signals.is_handling() and self._run.is_feeding):
            return False
        logger.warning(
            "%s: %s was called by the handler of a signal while a writer is being fed; it is done "
            "when that call has ended",
            self.savefile,
            what,
        )
        self._postponed.append(call)
        return True

    def _save(self, step: int | None) -> None:
        epoch, staged = self._epoch, self._staged
        staged.step = step
        self._steps.take(step)
        if staged.metrics:
            self._logged.update(staged.scalars)
        self._epoch, self._staged = epoch + 1, StagedEpoch()
        self._run.save(epoch, staged, self._hooks.layers)
        self._display.update(self)

    def _log(self, name: str, number: float) -> None:
        self._staged.scalars[name] = number
        self._run.add_scalar(name, number, self._epoch)

    def _finish_epoch(self, error: BaseException | None) -> None:
        staged = self._staged.names
        if staged and error is None:
            scalars = self._staged.scalars
            self._tell_of_order()
            self._staged.step = self._steps.of_the_end(self._staged.step, scalars)
            self.save()
        elif staged:
            logger.warning(
                "epoch %d was not complete when the run ended by %s, so it is not recorded; "
                "dropped: %s",
                self._epoch,
                type(error).__name__,
                ", ".join(staged),
            )

    def _tell_of_order(self) -> None:
        """Say where scalars came after the call that ends their epoch, again and again."""
        late = [name for name in self._staged.scalars if name in self._logged]
        if late and not self._staged.metrics:
            logger.warning(
                "epoch %d holds no layers, but %s, logged after the last add_saturations(): that "
                "call ends an epoch, so log the scalars of an epoch before it",
                self._epoch,
                shortened(late),
            )

    def _close_at_exit(self) -> None:
        """Nobody has called :meth:`close`: the backends still get all that they can."""
        # An interactive session goes on after the errors that it shows. Python sets `last_value`
        # where it shows an error, so SystemExit of any status is not there.
        is_interactive = hasattr(sys, "ps1")
        self.close(None if is_interactive else getattr(sys, "last_value", None))

    @property
    def _is_elsewhere(self) -> bool:
        """Whether this is a copy in a forked child, which shares the run's files."""
        return os.getpid() != self._process

    def _check_not_feeding(self) -> None:
        if self._run.is_feeding:
            raise RuntimeError("a writer must not call the tracker that is feeding it")

    def _check_open(self) -> None:
        self._check_not_feeding()
        if self._is_elsewhere:
            raise RuntimeError(
                f"the tracker of {self.savefile} belongs to the process that made it; pass the "
                "values there, or make a tracker with another savefile here"
            )
        if self._closed:
            raise RuntimeError(
                f"the tracker of {self.savefile} is closed; make a new one with "
                f"initial_epoch={self._epoch} to go on"
            )
