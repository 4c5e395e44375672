"""How epochs go into a W&B run of Delve's own: by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wandb import Run

from delve_wandb import service

EPOCH = "epoch"
STEP = "step"


@dataclass(frozen=True)
class Row:
    """What one epoch has to say.

    Attributes:
        numbers: Its values, by key.
        figures: What can be left out.
        name_failure: Is told why that was left out.
        step: Its training step, if it has one: then charts show it at that.
    """

    numbers: Mapping[str, Any]
    figures: Mapping[str, Any] = field(default_factory=dict)
    name_failure: Callable[[Exception], None] = lambda _: None
    step: int | None = None

    def with_numbers(self, **more: Any) -> Row:
        """The row with further values, which stand first."""
        return replace(self, numbers={**more, **self.numbers})

    def send(self, run: Run, **how: Any) -> None:
        """Log it: W&B takes a row whole or not at all, so without figures where one fails."""
        if self.figures:
            try:
                run.log({**self.numbers, **self.figures}, **how)
            except Exception as error:
                if service.has_died(error) or service.is_finished(run):
                    raise
                self.name_failure(error)
            else:
                return
        run.log(dict(self.numbers), **how)


class SteppedLog:
    """A run that nobody else logs to: W&B's step is the epoch.

    Charts show it by ``epoch``, or by ``step`` where rows have a training step; W&B cuts a run back
    by its own step, which is the epoch in either case.

    Args:
        run: The W&B run.
        next_epoch: The first epoch that it takes: W&B drops a step lower than the last.
    """

    def __init__(self, run: Run, next_epoch: int = 0) -> None:
        self.run = run
        self.next_epoch = next_epoch
        self._axis = EPOCH
        run.define_metric("*", step_metric=EPOCH)

    @property
    def is_overtaken(self) -> bool:
        """Whether somebody else has moved the step on, so that W&B would drop an epoch."""
        return self.run.step > self.next_epoch

    def holds(self, epoch: int) -> bool:
        """Whether the epoch is there, or can no longer be added."""
        return epoch < self.next_epoch

    def add(self, epoch: int, row: Row) -> None:
        """Send one epoch; W&B would hold an uncommitted row back, and a kill lose it."""
        places = {EPOCH: epoch} if row.step is None else {EPOCH: epoch, STEP: row.step}
        if STEP in places and self._axis != STEP:
            self.run.define_metric("*", step_metric=STEP)
            self._axis = STEP
        row.with_numbers(**places).send(self.run, step=epoch, commit=True)
        self.next_epoch = epoch + 1
