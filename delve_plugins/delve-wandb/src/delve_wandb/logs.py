"""How epochs go into a W&B run of Delve's own: by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wandb import Run

EPOCH = "epoch"


def is_finished(run: Run) -> bool:
    """Whether somebody has ended the run, so that it takes nothing more.

    To ask the run anything else would then wait 30 s for an answer. W&B offers no public way.
    """
    return bool(getattr(run, "_is_finished", False))


class SteppedLog:
    """A run that nobody else logs to: W&B's step is the epoch.

    Args:
        run: The W&B run.
        next_epoch: The first epoch that it takes: W&B drops a step lower than the last.
    """

    def __init__(self, run: Run, next_epoch: int = 0) -> None:
        self.run = run
        self.next_epoch = next_epoch
        run.define_metric("*", step_metric=EPOCH)

    @property
    def is_overtaken(self) -> bool:
        """Whether somebody else has moved the step on, so that W&B would drop an epoch."""
        return self.run.step > self.next_epoch

    def holds(self, epoch: int) -> bool:
        """Whether the epoch is there, or can no longer be added."""
        return epoch < self.next_epoch

    def add(self, epoch: int, row: Mapping[str, Any]) -> None:
        """Send one epoch; W&B would hold an uncommitted row back, and a kill lose it."""
        self.run.log({EPOCH: epoch, **row}, step=epoch, commit=True)
        self.next_epoch = epoch + 1
