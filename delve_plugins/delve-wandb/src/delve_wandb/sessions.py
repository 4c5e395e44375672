"""A W&B run as one process uses it: which one, whose it is, and what it remembers."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import wandb
from wandb import Run

from delve.log import get_logger
from delve.pace import Pace
from delve.records import RunInfo
from delve_wandb import service
from delve_wandb.logs import SharedLog, SteppedLog
from delve_wandb.opening import address, finish_run, open_run
from delve_wandb.options import Options
from delve_wandb.segments import Segment, segment_of

# What is remembered of a W&B run before it is opened.
_NOTHING_KNOWN: dict[str, Any] = {
    "online": False,  # whether a server may hold some of it
    "segments": {},  # by name: the first epoch of the process that added it
    "project": None,
    "entity": None,
    "address": None,
}
_SHARE = 0.02  # of the run's time that goes into looking at what W&B has on disk

logger = get_logger(__name__)


@dataclass
class Session:
    """A W&B run that takes the epochs of this process.

    Attributes:
        log: How they go into it.
        ours: Whether it is to be finished here.
        superseded: Local segments whose epochs this process logs again.
        last_again: The last of these epochs, None where there is none.
    """

    log: SteppedLog | SharedLog
    ours: bool
    superseded: list[Segment] = field(default_factory=list)
    last_again: int | None = None
    _pace: Pace = field(default_factory=lambda: Pace(_SHARE))

    def add(self, epoch: int, row: Mapping[str, Any], run: RunInfo) -> None:
        """Send one epoch."""
        if isinstance(self.log, SteppedLog) and self.log.is_overtaken:
            self._give_away(self.log, run)
        self.log.add(epoch, row)

    def finish(self, exit_code: int) -> None:
        """End the run if it is ours; W&B's own exit hook ends one that the user took over."""
        if self.ours:
            finish_run(self.log.run, exit_code)

    def look_after_superseded(self, run: RunInfo) -> None:
        """Retire earlier segments, but take little of the training's time to see whether to."""
        if self.superseded and self._pace.is_due():
            with self._pace.measured():
                self.retire_superseded(run)

    def retire_superseded(self, run: RunInfo) -> None:
        """Once this run's file holds all that they do, earlier segments need no upload.

        A kill takes what W&B has not written yet: retired too soon, neither would be uploaded.
        """
        segment = segment_of(self.log.run)
        if self.superseded and self._is_on_disk(segment):
            remember(run, segments={segment.name: run.initial_epoch})
            for earlier in self.superseded:
                earlier.supersede()
            self.superseded = []

    def _is_on_disk(self, segment: Segment) -> bool:
        if self.last_again is None:
            return segment.file.is_file()
        return self.log.holds(self.last_again) and segment.has_on_disk(self.last_again)

    def _give_away(self, log: SteppedLog, run: RunInfo) -> None:
        """A late ``wandb.init()`` of the user's returns our run: from then on it is theirs."""
        logger.warning(
            "W&B run %s, which Delve started, is logged to by others too, so that its steps are no "
            "longer the epochs; call wandb.init() before the tracker is made, and Delve uses your "
            "run",
            log.run.id,
        )
        self.ours = False
        self.log = SharedLog(log.run, range(log.next_epoch))
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
    last_again = max((epoch for epoch in run.epochs if epoch >= next_epoch), default=None)
    log = SteppedLog(opened, next_epoch)
    return Session(log, ours=True, superseded=superseded or [], last_again=last_again)


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
        state = _NOTHING_KNOWN | state
    if any(run.state.get(name) != value for name, value in state.items()):
        run.remember(**state)


def _describe(opened: Run, run: RunInfo, owned: bool) -> None:
    if run.config:
        config: Any = opened.config
        config.update(dict(run.config), allow_val_change=True)
    if opened.disabled:  # it stores nothing, so that nobody has to find it again
        return
    remember(run, run_id=opened.id, owned=owned)
    remember(
        run,
        project=opened.project,
        entity=opened.entity,
        address=address(),
        online=bool(run.state.get("online")) or not opened.offline,
        segments={**run.state.get("segments", {}), segment_of(opened).name: run.initial_epoch},
    )
