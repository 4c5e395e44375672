"""How epochs go into a W&B run that the user logs to: into the user's rows, never moving them.

A row that Delve closed would take its step from the user: what they log under it later is dropped
by W&B. So an epoch joins the row that is open, which the user's next call or ``finish()`` closes.
A row takes one epoch: while nobody closes it, later epochs wait.
"""

from __future__ import annotations

import atexit
from collections import deque
from collections.abc import Callable, Iterable

from wandb import Run

from delve.base import get_logger
from delve_wandb.logs import Row
from delve_wandb.names import can_be_defined, escaped
from delve_wandb.service import is_finished

AXIS = "delve/epoch"
STEP_AXIS = "delve/step"
ATTEMPT = "delve/attempt"

_SAID_FROM = 3  # epochs that wait: fewer are usual between two of the user's rows

logger = get_logger(__name__)


class OpenRow:
    """The row of a user's run that is open, and the epochs that wait for the next.

    Args:
        run: The W&B run.
        commits: Whether to close the row at once; the user has said that nothing is lost by it.
    """

    def __init__(self, run: Run, commits: bool = False) -> None:
        self.run = run
        self.commits = commits
        self.held: dict[str, set[int]] = {}  # by Delve's run, the epochs given in this process
        # After a resume the run says step 0 until the first log.
        self.first_step = 0 if is_finished(run) else max(run.step, run.starting_step)
        self._taken: int | None = None  # the step of the row that holds an epoch
        self._waiting: deque[Row] = deque()
        self._is_watched = False
        self._said = False

    @property
    def is_used_by_others(self) -> bool:
        """Whether somebody has closed a row: Delve does not."""
        return not self.commits and not is_finished(self.run) and self.run.step > self.first_step

    def add(self, row: Row) -> None:
        """Have a row go in as soon as one of the user's takes it."""
        self._waiting.append(row)
        try:
            self.fill()
        except Exception:
            self._waiting.pop()
            raise
        if self._waiting:
            self._see_to_the_end()

    def fill(self) -> None:
        """Put the epoch that has waited longest into the row that is open, if it has room."""
        while self._waiting:
            if self.commits:
                self._log(commit=True)
            elif self._taken is None or self.run.step != self._taken:
                self._log(commit=False)
                self._taken = self.run.step
            else:
                return

    def leave(self) -> None:
        """Make sure that what waits is sent in the end, when no row can be lost by it."""
        if is_finished(self.run):
            return
        self.fill()
        if self._waiting and not self._is_watched:
            self.empty()

    def empty(self) -> None:
        """Send what waits as rows of their own: the user logs no more."""
        if not is_finished(self.run):
            while self._waiting:
                if self._taken is not None and self.run.step == self._taken:
                    self.run.log({}, commit=True)  # closes the row that holds an epoch
                self._log(commit=True)

    def _log(self, commit: bool) -> None:
        self._waiting[0].send(self.run, commit=commit)
        self._waiting.popleft()

    def _see_to_the_end(self) -> None:
        if not self._is_watched:
            self._is_watched = _call_before_finish(self.run, self.empty)
        if len(self._waiting) >= _SAID_FROM and not self._said:
            self._said = True
            logger.warning(
                "W&B run %s is your own, and each row that you log to it takes one epoch of "
                "Delve's; %d epochs wait by now, and are sent when the run finishes. If you log "
                'nothing to it, or never give a step, writer_args={"wandb": {"commit": True}} '
                "sends each epoch at once",
                self.run.id,
                len(self._waiting),
            )


class SharedLog:
    """Delve's rows in a run that the user logs to; charts show them by epoch, or training step.

    Args:
        row: The run's open row.
        delves_id: The run of Delve's.
        prefix: What Delve's own keys begin with; the rows that are added have it already.
        held: The epochs that are there.
        attempt: How often epochs became void that are there, too.
    """

    def __init__(
        self,
        row: OpenRow,
        delves_id: str,
        prefix: str = "",
        held: Iterable[int] = (),
        attempt: int = 0,
    ) -> None:
        self.run = row.run
        self.row = row
        self.axis = prefix + AXIS
        self._step_axis = prefix + STEP_AXIS
        self._attempt = {prefix + ATTEMPT: attempt} if attempt else {}
        self._held = row.held.setdefault(delves_id, set())
        self._held |= set(held)
        self._defined: set[str] = set()

    def holds(self, epoch: int) -> bool:
        """Whether the epoch is there: W&B would keep both rows."""
        return epoch in self._held

    def add(self, epoch: int, row: Row) -> None:
        """Send one epoch, as a part of a row of the user's."""
        shown_by = self.axis if row.step is None else self._step_axis
        places = {self.axis: epoch} if row.step is None else {self.axis: epoch, shown_by: row.step}
        for name in row.numbers.keys() - self._defined:
            if can_be_defined(name):
                # Otherwise W&B adds the last epoch to the user's rows that have such a name.
                self.run.define_metric(escaped(name), step_metric=shown_by, step_sync=False)
            self._defined.add(name)
        self.row.add(row.with_numbers(**places, **self._attempt))
        self._held.add(epoch)


def _call_before_finish(run: Run, action: Callable[[], None]) -> bool:
    """Have something done when a run finishes, or the process ends; False where W&B has no way."""
    try:
        from wandb.sdk.wandb_run import TeardownHook, TeardownStage

        run._teardown_hooks.append(TeardownHook(lambda: _try(action), TeardownStage.EARLY))
    except (ImportError, AttributeError):
        return False
    atexit.register(_try, action)  # W&B's own hook, registered before, runs after it
    return True


def _try(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception as error:
        logger.warning(
            "epochs did not reach your W&B run (%s: %s); `delve export RUN --to wandb` sends them",
            type(error).__name__,
            error,
        )
