"""A W&B run as one process uses it: which one, whose it is, and what it remembers."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import wandb
from wandb import Run

from delve.records import RunInfo
from delve_wandb import service
from delve_wandb.logs import SharedLog, SteppedLog
from delve_wandb.opening import address, finish_run, open_run
from delve_wandb.options import Options
from delve_wandb.segments import Segment

logger = logging.getLogger(__name__)


@dataclass
class Session:
    """A W&B run that takes the epochs of this process.

    Attributes:
        log: How they go into it.
        ours: Whether it is to be finished here.
        superseded: Local segments whose epochs this process logs again.
    """

    log: SteppedLog | SharedLog
    ours: bool
    superseded: list[Segment] = field(default_factory=list)

    def add(self, epoch: int, row: Mapping[str, Any], run: RunInfo) -> None:
        """Send one epoch."""
        if isinstance(self.log, SteppedLog) and self.log.is_overtaken:
            self._give_away(self.log, run)
        self.log.add(epoch, row)

    def finish(self, exit_code: int) -> None:
        """End the run if it is ours; W&B's own exit hook ends one that the user took over."""
        if self.ours:
            finish_run(self.log.run, exit_code)

    def retire_superseded(self) -> None:
        """Once this run holds all that they do, earlier segments need no upload."""
        for segment in self.superseded:
            segment.supersede()
        self.superseded = []

    def _give_away(self, log: SteppedLog, run: RunInfo) -> None:
        """A late ``wandb.init()`` of the user's returns our run: from then on it is theirs."""
        logger.warning(
            "W&B run %s, which Delve started, is logged to by others too, so that its steps are no "
            "longer the epochs; call wandb.init() before the tracker is made, and Delve uses your "
            "run",
            log.run.id,
        )
        self.ours = False
        self.log = SharedLog(log.run, log.next_epoch)
        remember(run, owned=False)


def start(options: Options, run: RunInfo) -> Session:
    """Take the user's active run, else begin one.

    Raises:
        WriterConfigurationError: Only the user can help.
        Exception: Of W&B's, where the server or the service fails.
    """
    if wandb.run is not None:
        return share(wandb.run, run, ours=False)
    run_id = service.users_settings().run_id or known_id(run) or secrets.token_hex(4)
    remember(run, run_id=run_id, owned=True)
    opened = open_run(options, run.state, id=run_id)
    if opened.starting_step:  # WANDB_RUN_ID and WANDB_RESUME name a run that holds something
        return share(opened, run, ours=True)
    return own(opened, run)


def own(
    opened: Run, run: RunInfo, next_epoch: int = 0, superseded: list[Segment] | None = None
) -> Session:
    """Record into a run that nobody else logs to."""
    _describe(opened, run, owned=True)
    return Session(SteppedLog(opened, next_epoch), ours=True, superseded=superseded or [])


def share(opened: Run, run: RunInfo, ours: bool) -> Session:
    """Record into a run that the user logs to."""
    _describe(opened, run, owned=False)
    return Session(SharedLog(opened), ours)


def known_id(run: RunInfo) -> str | None:
    """The W&B run that Delve started for this one, in this process or an earlier one."""
    run_id = run.state.get("run_id")
    # It becomes a part of paths, and a journal may come from somebody else.
    is_plain = isinstance(run_id, str) and re.fullmatch(r"[\w-]+", run_id)
    return run_id if is_plain and run.state.get("owned") else None


def remember(run: RunInfo, **state: Any) -> None:
    """Keep what a resume needs; another W&B run's is dropped."""
    if state.get("run_id", run.state.get("run_id")) != run.state.get("run_id"):
        state = {"online": False, "project": None, "entity": None, "address": None} | state
    if any(run.state.get(name) != value for name, value in state.items()):
        run.remember(**state)


def _describe(opened: Run, run: RunInfo, owned: bool) -> None:
    if run.config:
        config: Any = opened.config
        config.update(dict(run.config), allow_val_change=True)
    remember(run, run_id=opened.id, owned=owned)
    remember(
        run,
        project=opened.project,
        entity=opened.entity,
        address=address(),
        online=bool(run.state.get("online")) or not opened.offline,
    )
