"""The tracker in the hands of a trainer's callback: whatever befalls it, the training goes on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from delve.base.log import get_logger
from delve.base.printable import printable
from delve.errors import DelveError, WriterFailedError
from delve.numerics import processes
from delve.records import Axis
from delve.tracker.endings import check_ends_well, what_went_wrong
from delve.tracker.hyperparameters import resolve
from delve.tracker.row_times import Every, RowTimes
from delve.tracker.tracker import SaturationTracker
from delve.tracker.trainer_config import as_scalar, check_names
from delve.tracker.trainer_places import place_of

T = TypeVar("T")

_NO_SCALARS = ("epoch", "step")  # names that are Delve's own

logger = get_logger("delve.tracker")


class TrainersTracker:
    """A tracker that a callback holds: made late, recorded with at the trainer's moments.

    A mistake in the arguments is raised: what can be told at once, here; the rest by :meth:`open`.
    Whatever else fails is a warning, said once, and the training goes on. All calls do nothing
    before :meth:`open` and after :meth:`close`. Under ``torch.distributed`` each process makes all
    of the calls.

    A training step goes: :meth:`before_step`, its passes, :meth:`after_step`, then what comes of
    :meth:`carry`, :meth:`after_evaluation` and :meth:`after_epoch` at that step. The row, if one is
    due, is taken by :meth:`before_step` of the next one, by :meth:`state`, or by :meth:`close`;
    scalars that no row takes up get one of their own before the next step.

    Args:
        every: See :class:`RowTimes`.
        gather: See :class:`RowTimes`.
        arguments: Arguments of :class:`~delve.SaturationTracker` that the user gave the callback.
        axis: What the x axis of the run is: the trainer's ``step``, or its ``epoch``, where its own
            loggers count these. Then all steps that the calls are given are epochs that are over,
            each of which ends with a row.
        has_rows_of_scalars: Whether scalars of the trainer's have rows of their own between those
            of layers; else the next row has the last of each name.
        offset: What the x axis adds to the trainer's step, where its own loggers count otherwise.

    Attributes:
        tracker: The tracker itself, while there is one.
        carried: The names of all scalars of the trainer's that came by :meth:`carry`: its own runs
            have them, so a writer that records there is to leave them out.

    Raises:
        ArgumentError: An argument cannot be used.
    """

    def __init__(
        self,
        every: Every = None,
        gather: Literal["window", "last"] = "window",
        arguments: Mapping[str, Any] | None = None,
        axis: Axis = "step",
        has_rows_of_scalars: bool = True,
        offset: int = 0,
    ) -> None:
        self._times = RowTimes(every, gather)
        self._arguments = dict(arguments or {})
        self._has_steps = axis == "step"
        self._has_rows_of_scalars = has_rows_of_scalars and self._has_steps
        self._offset = offset
        check_names(self._arguments)
        self._ends_well = check_ends_well(self._arguments.get("ends_well", ()))
        self.tracker: SaturationTracker | None = None
        self.carried: set[str] = set()
        self._step = 0
        self._scalars: dict[str, float] = {}
        self._mode = contextlib.ExitStack()
        self._said: set[str] = set()

    def open(
        self,
        folder: str | os.PathLike[str],
        save_to: Any,
        modules: Any,
        *,
        writer_args: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        evaluates: bool = False,
        step: int | None = 0,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the tracker, once the trainer knows where it begins or goes on.

        Collective. One that is open already is closed: a training has begun after one that ended by
        an exception.

        Args:
            folder: The run's folder.
            save_to: The writers, see :func:`resolve_loggers`.
            modules: The model.
            writer_args: Their arguments.
            config: Hyperparameters of the trainer, see :func:`trainers_config`; those that the user
                gave as an argument go before.
            evaluates: Whether the trainer will evaluate.
            step: The training steps that lie behind; 0 begins a new run. None: some, nobody knows
                how many, so that without a state the run goes on behind its last row.
            state: What :meth:`state` gave for the checkpoint that the training goes on from.
                Without one the run goes on behind its rows up to ``step``.

        Raises:
            DelveError: An argument cannot be used, or the run cannot be opened.
        """
        self.close()
        arguments: dict[str, Any] = dict(self._arguments)
        arguments["config"] = {**(config or {}), **resolve(arguments.get("config") or {})}
        arguments["writer_args"] = writer_args
        place = processes.raise_in_all_ranks(lambda: place_of(folder, step, state, self._has_steps))
        if "initial_step" in place:
            place["initial_step"] += self._offset
        self.tracker = self._guarded(
            "the opening of the run",
            lambda: _made_in_all_ranks(
                lambda: SaturationTracker(folder, save_to, modules, **(arguments | place))
            ),
            raised=(DelveError, TypeError),
        )
        self._step, self._scalars = step or 0, {}
        self._times.begin(evaluates, step or 0)
        if step != 0 and self.tracker is not None:
            self._load(self.tracker, state)
            # What comes before the next training step was there before the checkpoint.
            self.tracker.stop()

    def _load(self, tracker: SaturationTracker, state: Mapping[str, Any] | None) -> None:
        def load() -> None:
            if state and state.get("samples", True):
                tracker.load_state_dict(state["tracker"])
                self._scalars = dict(state["scalars"])

        self._guarded(
            "going on from the state in the checkpoint", lambda: processes.raise_in_all_ranks(load)
        )

    @property
    def folder(self) -> Path | None:
        """The run's folder, while the tracker is open."""
        return self.tracker.savefile if self.tracker else None

    def row(self, step: int | None = None) -> None:
        """Take a row now, for one who knows when by himself. Collective.

        Args:
            step: The training step, in a run that has them as its x axis.
        """
        self._has_steps = step is not None
        self._record(step or 0, has_layers=True)

    def before_step(self, step: int) -> None:
        """A training step begins, of this number, counted from 1: take the row that is due."""
        self.flush()
        if self.tracker is None:
            return
        if self._times.gathers(step):
            self.tracker.resume()
        else:
            self.tracker.stop()

    def after_step(self, step: int) -> None:
        """A training step is over."""
        self._step = step
        self._times.after_step(step)

    def after_epoch(self, step: int) -> None:
        """An epoch of the trainer's is over, after so many training steps."""
        self._step = step
        self._times.after_epoch(step)

    def after_evaluation(self, step: int) -> None:
        """An evaluation is over, or one of several at this step."""
        self._step = step
        self._times.after_evaluation(step)

    def carry(self, scalars: Mapping[str, Any], step: int) -> None:
        """Record scalars of the trainer's own at this step, in its row, or in one of their own.

        What is no number, and what has a name that is Delve's own, is passed over.
        """
        if step != self._step:
            self.flush()
        self._step = step
        self._scalars |= {
            name: number
            for name, value in scalars.items()
            if name not in _NO_SCALARS and (number := as_scalar(value)) is not None
        }
        self.carried.update(self._scalars)  # the same set: writers look into it

    def flush(self) -> None:
        """Take the row that is due, if one is, or that of scalars alone. Collective."""
        due = self._times.take()
        if due is not None:
            self._record(due, has_layers=True)
        elif self._scalars and self._has_rows_of_scalars:
            self._record(self._step, has_layers=False)

    def _record(self, step: int, has_layers: bool) -> None:
        scalars, self._scalars = self._scalars, {}
        tracker = self.tracker
        if tracker is None:
            return
        for name, number in scalars.items():
            self._guarded(f"the scalar {name!r}", partial(tracker.add_scalar, name, number))
        take = tracker.add_saturations if has_layers else tracker.save
        at = step + self._offset if self._has_steps else None
        self._guarded("a row", lambda: take(step=at))

    def state(self) -> dict[str, Any] | None:
        """What this process's checkpoint has to keep, after the row that is due: plain values.

        Collective. None where there is no tracker.
        """
        due = self._times.take()
        if due is not None:
            self._record(due, has_layers=True)
        tracker = self.tracker
        state = self._guarded("the checkpoint's state", tracker.state_dict) if tracker else None
        return state and {"tracker": state, "scalars": dict(self._scalars)}

    def mode(self, mode: Literal["train", "eval", "off"] | None) -> None:
        """Say what the passes to come are, where the trainer does not tell the model.

        Args:
            mode: See :meth:`~delve.SaturationTracker.mode`; None: as the model says.
        """
        self._mode.close()
        if self.tracker is not None and mode is not None:
            self._mode.enter_context(self.tracker.mode(mode))

    def close(self, error: BaseException | None = None, step: int | None = None) -> None:
        """End the run, after the row that is due.

        Args:
            error: The exception that ended the training, if one did. One of ``ends_well`` and
                Optuna's ``TrialPruned`` are good ends; after others no row is taken.
            step: The training step at which the exception came: a good end has a row there, unless
                there is one.
        """
        self._mode.close()
        failure = what_went_wrong(error, self._ends_well)
        if failure is None:
            if error is not None and step is not None:
                self._times.at_the_end(step)
            self.flush()
        tracker, self.tracker = self.tracker, None
        if tracker is not None:
            self._guarded("the end of the run", lambda: tracker.close(failure))

    def _guarded(
        self,
        what: str,
        act: Callable[[], T],
        raised: tuple[type[BaseException], ...] = (WriterFailedError,),
    ) -> T | None:
        """What it answers; None where it failed by what need not stop the training."""
        try:
            return act()
        except raised:
            raise
        except Exception as error:
            if what not in self._said:
                self._said.add(what)
                logger.warning(
                    "%s failed, and the training goes on without it: %s: %s",
                    what,
                    type(error).__name__,
                    printable(str(error)),
                )
            logger.debug("%s failed", what, exc_info=True)
            return None


def _made_in_all_ranks(make: Callable[[], SaturationTracker]) -> SaturationTracker:
    """The tracker of this process; none stays open where that of another could not be made."""
    made: list[SaturationTracker] = []
    try:
        processes.raise_in_all_ranks(lambda: made.append(make()))
    except BaseException:
        for tracker in made:
            tracker.close()
        raise
    return made[0]
