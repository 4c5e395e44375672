"""When a trainer's callback takes a row: at each evaluation, at each epoch, or every n steps."""

from __future__ import annotations

import numbers
from typing import Any, Literal

from delve.errors import ArgumentError

Every = int | Literal["epoch", "evaluation"] | None


class RowTimes:
    """Which moments of a training end with a row.

    A moment is noted when it comes, and its row is taken later, as an evaluation may follow that
    belongs to it: before the next training step, before a checkpoint, or at the end. Of several
    moments at one step there is one row.

    Args:
        every: ``"evaluation"``, ``"epoch"``, or a number of training steps; None: at evaluations if
            the trainer evaluates, else at epochs.
        gather: ``window`` makes a row of all passes since the last one, ``last`` of those of the
            step that it is due at, and of what comes behind that step: for a number of steps.

    Raises:
        ArgumentError: It is none of these.
    """

    def __init__(self, every: Any = None, gather: Any = "window") -> None:
        is_number = isinstance(every, numbers.Integral) and not isinstance(every, bool)
        if not (every in (None, "epoch", "evaluation") or (is_number and int(every) > 0)):
            raise ArgumentError(
                "every must be a number of training steps, 'epoch', 'evaluation', or None for "
                f"evaluations if the trainer evaluates, else epochs, not {every!r}"
            )
        if gather not in ("window", "last"):
            raise ArgumentError(f"gather must be 'window' or 'last', not {gather!r}")
        if gather == "last" and not is_number:
            raise ArgumentError(
                f"gather='last' needs every as a number of training steps, not {every!r}"
            )
        self._every = every
        self._steps = int(every) if is_number else None
        self._gathers_all = gather == "window"
        self._evaluates = False
        self._due: int | None = None
        self._last: int | None = None

    def begin(self, evaluates: bool, step: int) -> None:
        """A training begins, or goes on.

        Args:
            evaluates: Whether the trainer will evaluate.
            step: The training steps that lie behind it: their rows are taken, but that of an
                evaluation before the first step.
        """
        self._evaluates = evaluates
        self._due = None
        self._last = step or None

    def after_step(self, step: int) -> None:
        """A training step is over."""
        if self._steps is not None and step % self._steps == 0:
            self._note(step)

    def after_epoch(self, step: int) -> None:
        """An epoch is over."""
        if self._every == "epoch" or (self._every is None and not self._evaluates):
            self._note(step)

    def after_evaluation(self, step: int) -> None:
        """An evaluation is over, or a part of it."""
        if self._every == "evaluation" or (self._every is None and self._evaluates):
            self._note(step)

    def at_the_end(self, step: int) -> None:
        """The training ends here, early and well: it has a row, whatever ends with one else."""
        self._note(step)

    def _note(self, step: int) -> None:
        if self._last is None or step > self._last:
            self._due = step

    def take(self) -> int | None:
        """The step of the row that is due, if one is; it counts as taken."""
        step, self._due = self._due, None
        self._last = self._last if step is None else step
        return step

    def gathers(self, step: int) -> bool:
        """Whether the passes of the training step of this number go into a row."""
        return self._gathers_all or self._steps is None or step % self._steps == 0
