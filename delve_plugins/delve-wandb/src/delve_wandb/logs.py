"""How epochs go into a W&B run: by step on Delve's own, beside the user's rows on theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wandb import Run

EPOCH = "epoch"


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


class SharedLog:
    """A run that the user logs to: the step is theirs, and charts show Delve's rows by epoch.

    Args:
        run: The W&B run.
        held: The epochs that are there.
    """

    def __init__(self, run: Run, held: Iterable[int] = ()) -> None:
        self.run = run
        self._held = set(held)
        self._defined: set[str] = set()

    @property
    def last_epoch(self) -> int | None:
        """The last epoch that the run says it holds; offline, it knows those of this process."""
        summary: Any = self.run.summary
        last = summary.get(EPOCH)
        return int(last) if isinstance(last, int | float) else None

    def holds(self, epoch: int) -> bool:
        """Whether the epoch is there: W&B would keep both rows."""
        return epoch in self._held

    def add(self, epoch: int, row: Mapping[str, Any]) -> None:
        """Send one epoch, as a row of its own."""
        for name in row.keys() - self._defined:
            if "*" not in name and not name.startswith("_"):  # a pattern and hidden, to W&B
                self.run.define_metric(name, step_metric=EPOCH)
            self._defined.add(name)
        self.run.log({EPOCH: epoch, **row}, commit=True)
        self._held.add(epoch)
