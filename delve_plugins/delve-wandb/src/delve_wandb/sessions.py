"""A W&B run as one process uses it: which one, whose it is, and what it remembers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wandb import Run

from delve.base import get_logger
from delve.errors import BackendLostError
from delve.files import Pace
from delve.records import RunInfo
from delve_wandb import service
from delve_wandb.identity import is_marked, known_id, mark, new_id, remember
from delve_wandb.logs import Row, SteppedLog
from delve_wandb.opening import address, finish_run, open_run, users_run
from delve_wandb.options import Options
from delve_wandb.rows_there import attempts_in
from delve_wandb.segments import Segment, segment_of
from delve_wandb.shared_log import ATTEMPT, AXIS, OpenRow, SharedLog

_SHARE = 0.02  # of the run's time that goes into looking at what W&B has on disk

_open_rows: dict[tuple[str, str], OpenRow] = {}  # by W&B run and prefix, in this process

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

    @property
    def is_users(self) -> bool:
        """Whether others log to the run."""
        return isinstance(self.log, SharedLog)

    def add(self, epoch: int, row: Row, run: RunInfo) -> None:
        """Send one epoch.

        Raises:
            BackendLostError: Somebody has finished the run.
        """
        if service.is_finished(self.log.run):
            raise BackendLostError(f"W&B run {self.log.run.id} has been finished by others")
        if isinstance(self.log, SteppedLog) and self.log.is_overtaken:
            self._give_away(self.log, run)
        self.log.add(epoch, row)

    def finish(self, exit_code: int) -> None:
        """End the run if it is ours; W&B's own exit hook ends one that the user took over."""
        if isinstance(self.log, SharedLog):
            self.log.row.leave()
            self.ours = self.ours and not self.log.row.is_used_by_others
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
        """Where W&B gave a late ``wandb.init()`` our run: from then on it is theirs."""
        logger.warning(
            "W&B run %s, which Delve started, is logged to by others too, so that its steps are no "
            "longer the epochs; call wandb.init() before the tracker is made, and Delve uses your "
            "run",
            log.run.id,
        )
        self.ours = False
        self.log = SharedLog(OpenRow(log.run), run.run_id, held=range(log.next_epoch))
        remember(run, owned=False)


def start(options: Options, run: RunInfo) -> Session:
    """Take the user's active run, else begin one.

    Raises:
        WriterConfigurationError: Only the user can help.
        Exception: Of W&B's, where the server or the service fails.
    """
    mine = users_run(options)
    if mine is not None:
        return share(mine, options, run, ours=False)
    if service.users_settings().run_id:
        # The user has named one run for the process: their own later `wandb.init()` gets it too.
        return share(open_run(options, run.state, reinit=None), options, run, ours=True)
    return begin(options, run)


def begin(options: Options, run: RunInfo, again: bool = True) -> Session:
    """Begin a run of Delve's own.

    Args:
        options: The user's options.
        run: What it is to record.
        again: Whether to go on with one that an earlier attempt began.
    """
    run_id = (known_id(run) if again else None) or new_id(run)
    opened = open_run(options, run.state, id=run_id, config=mark(run))
    if not opened.resumed or is_marked(opened, run):
        return own(opened, run)
    let_go(opened)  # WANDB_RESUME alone can lead here
    return begin(options, run, again=False)


def let_go(opened: Run) -> None:
    """Leave a run that is not this run's as it is."""
    logger.warning(
        "W&B run %s does not say that it was begun for this run, so it is left as it is, and a new "
        "run gets all epochs",
        opened.id,
    )
    finish_run(opened)


def own(
    opened: Run, run: RunInfo, next_epoch: int = 0, superseded: list[Segment] | None = None
) -> Session:
    """Record into a run that nobody else logs to."""
    _describe(opened, {**run.config, **mark(run)})
    _remember_place(opened, run, owned=True)
    last_again = max((epoch for epoch in run.epochs if epoch >= next_epoch), default=None)
    log = SteppedLog(opened, next_epoch)
    return Session(log, ours=True, superseded=superseded or [], last_again=last_again)


def share(opened: Run, options: Options, run: RunInfo, ours: bool) -> Session:
    """Record into a run that the user logs to."""
    if not opened.disabled:
        _warn_of_another(opened, options, run)
        before = () if _is_known(opened, run) else attempts_in(opened, options)
        _remember_place(opened, run, owned=False)
        if before:  # by a run that this one follows, or by another: both stay there
            remember(run, attempt=max(before) + 1, attempt_first=0)
    if options.run is None:  # the owner of a run that is named has told its own
        _add_to_config(opened, run)
    attempt = run.state.get("attempt") or 0
    log = SharedLog(_open_row(opened, options), run.run_id, options.prefix, attempt=attempt)
    return Session(log, ours)


def shared_log(opened: Run, options: Options, run: RunInfo, held: Iterable[int]) -> SharedLog:
    """The log of a user's run that holds epochs already."""
    row = _open_row(opened, options)
    row.held.pop(run.run_id, None)
    return SharedLog(row, run.run_id, options.prefix, held, run.state.get("attempt") or 0)


def held_here(opened: Run, options: Options, run: RunInfo) -> set[int]:
    """The epochs that this process has given a user's run, be it that they still wait."""
    return set(_open_row(opened, options).held.get(run.run_id, ()))


def _open_row(opened: Run, options: Options) -> OpenRow:
    """One for all trackers that log into a run: a row takes one epoch of each prefix."""
    for key, row in list(_open_rows.items()):
        if service.is_finished(row.run) or (key[0] == opened.id and row.run is not opened):
            del _open_rows[key]
    key = (opened.id, options.prefix)
    if key not in _open_rows:
        _open_rows[key] = OpenRow(opened)
    _open_rows[key].commits = options.commit
    return _open_rows[key]


def _warn_of_another(opened: Run, options: Options, run: RunInfo) -> None:
    """Say that epochs of several runs of Delve's cannot be told apart in one W&B run."""
    summary: Any = opened.summary
    here = _open_row(opened, options).held.keys() - {run.run_id}
    if here or (not _is_known(opened, run) and summary.get(options.prefix + AXIS) is not None):
        logger.warning(
            "W&B run %s gets the epochs of another run of Delve's too, under the same names; those "
            "of this one are marked by %s. A prefix gives them names of their own, such as "
            'writer_args={"wandb": {"prefix": "fold1/"}}',
            opened.id,
            ATTEMPT,
        )


def _is_known(opened: Run, run: RunInfo) -> bool:
    """Whether an earlier part of the run was recorded there."""
    return bool(run.state.get("run_id") == opened.id)


def _describe(opened: Run, config: Mapping[str, Any]) -> None:
    """Merge values into the configuration; one that W&B cannot take costs no other."""
    into: Any = opened.config
    try:
        into.update(dict(config), allow_val_change=True)
    except (TypeError, ValueError):  # of its making JSON; the service's faults are others
        for name, value in config.items():
            try:
                into.update({name: value}, allow_val_change=True)
            except (TypeError, ValueError) as error:
                logger.warning("W&B does not take the configuration's %r: %s", name, error)


def _add_to_config(opened: Run, run: RunInfo) -> None:
    """Give a user's run what its configuration lacks: values that it has are the user's."""
    present: Any = opened.config
    ours = set(run.state.get("config") or ()) if run.state.get("run_id") == opened.id else set()
    added = {key: value for key, value in run.config.items() if key in ours or key not in present}
    if added:
        _describe(opened, added)
        if not opened.disabled:
            remember(run, config=sorted({*ours, *map(str, added)}))


def _remember_place(opened: Run, run: RunInfo, owned: bool) -> None:
    if opened.disabled:  # it stores nothing, so that nobody has to find it again
        return
    remember(run, run_id=opened.id, owned=owned)
    segments = run.state.get("segments") or {}
    remember(
        run,
        project=opened.project,
        entity=opened.entity,
        address=address(),
        online=bool(run.state.get("online")) or not opened.offline,
        segments={**segments, segment_of(opened).name: run.initial_epoch},
    )
