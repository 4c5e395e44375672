"""The training steps of rows: the run's x axis, where it goes on by one, and which calls record."""

from __future__ import annotations

import numbers
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from delve.base.checks import check_count
from delve.base.log import get_logger
from delve.delivery.checked_writer import NamedWriter
from delve.errors import ArgumentError
from delve.journal.reading import JOURNAL_NAME, contents_in
from delve.journal.values import LARGEST_EPOCH
from delve.records import Axis
from delve.tracker.arguments import check_initial_epoch

STEP = "step"  # the name of the x axis, which no scalar of the user's may have then
GATHER = ("window", "last")

logger = get_logger("delve.tracker")


class StepAxis:
    """What the x axis of a run is, and where on it the last row stands.

    The first row decides: with a step or without.

    Args:
        axis: What it is; None where there is no row yet.
        last: The step of the last row.
    """

    def __init__(self, axis: Axis | None = None, last: int | None = None) -> None:
        self._axis = axis
        self._last = last
        self._seen: int | None = None  # that of the last call, whether or not it recorded a row

    def check(self, step: Any, scalars: Container[str] = ()) -> int | None:
        """A row's step, which is None where the run's axis is the epoch.

        Args:
            step: What the user gave.
            scalars: The names of the user's scalars that the row has.

        Raises:
            ArgumentError: It is no step, does not rise, or is not what the run's axis asks for.
        """
        if step is None:
            if self._axis == STEP:
                raise ArgumentError(
                    f"the rows of this run carry training steps, the last one {self._last}: give "
                    "this one's, step=..., or begin a new run in another folder"
                )
            return None
        if self._axis == "epoch":
            raise ArgumentError(
                f"step={step!r}: the rows of this run carry no training steps, its x axis is the "
                "epoch, and a run has one x axis: leave step out, or begin a new run in another "
                "folder"
            )
        number = _whole("step", step)
        if self._last is not None and number <= self._last:
            raise ArgumentError(
                f"step={number} does not lie behind step {self._last} of the last row: the steps "
                "of rows rise; after going back to a checkpoint, resume the run by initial_step"
            )
        if STEP in scalars:
            raise ArgumentError(
                f"step={number}: a scalar named 'step' was logged for this row, and 'step' is the "
                "x axis of a run whose rows carry steps; give the scalar another name"
            )
        self._seen = number
        return number

    def check_name(self, name: str) -> None:
        """The name of a scalar of the user's.

        Raises:
            ArgumentError: It is that of the run's axis.
        """
        if name == STEP == self._axis:
            raise ArgumentError(
                "the scalar name 'step' is taken by Delve itself in a run whose rows carry "
                "steps; choose another"
            )

    def take(self, step: int | None) -> None:
        """A row is recorded, with this step."""
        self._axis = "epoch" if step is None else "step"
        self._last = step

    def of_the_end(self, given: int | None, scalars: Container[str]) -> int | None:
        """The step of a last row that nobody has ended by a call of their own.

        Args:
            given: What was given for it so far.
            scalars: The names of the user's scalars that it has.
        """
        if self._axis == "epoch" or given is not None:
            return given
        if self._seen is not None and (self._last is None or self._seen > self._last):
            return None if self._axis is None and STEP in scalars else self._seen
        if self._last is None:
            return None
        logger.warning(
            "what was logged after the row of step %d is recorded at step %d: no step was given",
            self._last,
            self._last + 1,
        )
        return self._last + 1


class Turns:
    """Which calls of :meth:`~delve.SaturationTracker.add_saturations` record a row.

    Args:
        every: Every so many calls.
        gather: ``window`` gathers all that comes between two rows, ``last`` what comes before the
            call that records one and after the call before that.
        passed: How many calls came since the last row.
    """

    def __init__(self, every: Any, gather: Any, passed: int = 0) -> None:
        self._every = check_count("every", every)
        if gather not in GATHER:
            raise ArgumentError(f"gather must be 'window' or 'last', not {gather!r}")
        self._gathers_all = gather == "window"
        self.passed = passed % self._every

    @property
    def is_due(self) -> bool:
        """Whether the next call records."""
        return self.passed + 1 >= self._every

    @property
    def is_gathering(self) -> bool:
        """Whether forward passes are gathered until the next call."""
        return self._gathers_all or self.is_due

    def count(self) -> None:
        """A call came."""
        self.passed = 0 if self.is_due else self.passed + 1

    def go_on(self, passed: int) -> None:
        """So many calls came since the last row, in an earlier part of the run."""
        self.passed = passed % self._every


def check_initial_step(
    initial_step: Any, initial_epoch: Any, folder: Path, writers: Sequence[NamedWriter] = ()
) -> int:
    """The epoch at which a run goes on that is resumed by a step: rows up to that step stay.

    A run that has recorded nothing up to there begins anew.

    Args:
        initial_step: What the user gave.
        initial_epoch: What the user gave beside it.
        folder: The run's folder.
        writers: Those that are about to be opened there.

    Raises:
        ArgumentError: The journal does not tell which epoch that is.
    """
    if initial_epoch != 0:
        raise ArgumentError(
            f"initial_epoch={initial_epoch!r} and initial_step={initial_step!r} exclude each "
            "other: give one of them"
        )
    step, journal = _whole("initial_step", initial_step), folder / JOURNAL_NAME
    contents = contents_in(folder)
    if contents is None and step:
        raise ArgumentError(
            f"initial_step={step}: {folder} holds no journal, so nothing tells which rows lie "
            "before that step; give the folder of the run, or initial_epoch=0 to begin a new one"
        )
    if contents is None or not contents.places:
        return check_initial_epoch("auto", folder, writers)
    if not contents.steps:
        raise ArgumentError(
            f"initial_step={step}: the rows in {journal} carry no training steps, the x axis of "
            "this run is the epoch; resume it by initial_epoch"
        )
    kept = [epoch for epoch, taken in contents.steps.items() if taken <= step]
    epoch = kept[-1] + 1 if kept else 0
    following = next((other for other in contents.places if other >= epoch), epoch)
    if following > epoch:
        raise ArgumentError(
            f"initial_step={step}: {journal} has lost what lies between epochs {epoch - 1} and "
            f"{following}, so nothing tells which of these rows lie before that step; give "
            "initial_epoch as a number"
        )
    if not kept:
        logger.info("%s holds no row up to step %d: the run begins anew", folder, step)
    return epoch


def check_step_of_resume(initial_step: Any) -> int | None:
    """The step itself, where there is one."""
    return None if initial_step is None else _whole("initial_step", initial_step)


def _whole(name: str, value: Any) -> int:
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not 0 <= int(value) <= LARGEST_EPOCH:
        raise ArgumentError(f"{name} must be a whole number of at least 0, not {value!r}")
    return int(value)
