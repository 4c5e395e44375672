"""A W&B run of the user's that a resumed run goes on in: which epochs it holds already.

It cannot be cut back, and what is logged again stays there twice.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import Path

from wandb import Run

from delve.log import get_logger
from delve.records import RunInfo, enumerate_epochs
from delve_wandb.logs import EPOCH, SharedLog
from delve_wandb.options import Options
from delve_wandb.segments import Segment, segment_of, segments
from delve_wandb.sessions import Session, start

logger = get_logger(__name__)


def resume_shared(options: Options, run: RunInfo) -> tuple[Session, int | None]:
    """Go on with the user's active run, or begin one where there is none.

    Returns the session and the first epoch that is to be fed again, None where nobody can tell.
    """
    earlier = run.state.get("run_id")
    session = start(options, run)
    opened = session.log.run
    if earlier and opened.id != earlier:
        logger.warning(
            "the earlier epochs are in W&B run %s, which is not active, so run %s gets all of "
            "them; to go on there, open it with wandb.init(id=%r, resume='must') before the "
            "tracker is made",
            earlier,
            opened.id,
            earlier,
        )
    if opened.id != earlier or not isinstance(session.log, SharedLog):
        return session, run.first_lacking(())
    held = _held(session.log, run)
    if held is None:
        return session, None
    _name_what_stays(opened, held, run)
    session.log = SharedLog(opened, (epoch for epoch in held if epoch < run.initial_epoch))
    return session, run.first_lacking(held)


def _held(log: SharedLog, run: RunInfo) -> Collection[int] | None:
    """The epochs that the run holds; None, with a warning, where nobody can tell."""
    opened = log.run
    # A kill can let the summary reach the server before the rows.
    has_rows = opened.starting_step > 0 or opened.step > 0
    if has_rows and log.last_epoch is not None:
        return range(log.last_epoch + 1)
    if opened.offline:
        return _held_locally(opened, run)
    if not has_rows or not run.epochs:
        return ()
    why = "its summary on the server does not tell which epochs it holds"
    _name_what_is_not_fed_again(opened, list(run.epochs), run, why)
    return None


def _held_locally(opened: Run, run: RunInfo) -> set[int] | None:
    """What the files of earlier processes hold; None where they are not all that there is."""
    folder = Path(opened.settings.wandb_dir).parent
    files = {segment.name: segment for segment in segments(folder, opened.id)}
    known: dict[str, int] = {**run.state.get("segments", {})}
    known.pop(segment_of(opened).name, None)
    held: set[int] = set()
    for name, first in known.items():
        held = {epoch for epoch in held if epoch < first}  # later ones became void with a resume
        held |= _delves_epochs(files[name], run) if name in files else set()
    lacking = [epoch for epoch in run.epochs if epoch not in held]
    if lacking and (known.keys() - files.keys() or run.state.get("online")):
        why = "offline W&B cannot tell what it holds beyond its local files"
        _name_what_is_not_fed_again(opened, lacking, run, why)
        return None
    return held


def _delves_epochs(segment: Segment, run: RunInfo) -> set[int]:
    """The epochs in Delve's rows; a row of the user's may have a value of that name too."""
    return {
        int(row[EPOCH])
        for row in segment.rows()
        if row.get(EPOCH, "").isdecimal() and not row.keys().isdisjoint(run.metrics)
    }


def _name_what_stays(opened: Run, held: Collection[int], run: RunInfo) -> None:
    stays = sorted(epoch for epoch in held if epoch >= run.initial_epoch)
    if stays:
        logger.warning(
            "W&B run %s is your own, and W&B cannot drop rows: it keeps what was recorded for "
            "epochs %s beside the new rows",
            opened.id,
            enumerate_epochs(stays),
        )


def _name_what_is_not_fed_again(opened: Run, epochs: list[int], run: RunInfo, why: str) -> None:
    logger.warning(
        "W&B run %s is your own, and %s: epochs %s are not sent again, as they may be there, and "
        "W&B would keep both rows; `delve export %s --to wandb` sends all epochs to a run of their "
        "own",
        opened.id,
        why,
        enumerate_epochs(epochs),
        shlex.quote(str(run.savefile)),
    )
