"""A W&B run of the user's that a resumed run goes on in: which epochs it holds already.

It cannot be cut back, and what is logged again stays there twice.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

from wandb import Run

from delve.base import get_logger
from delve.records import RunInfo, enumerate_epochs
from delve_wandb.identity import remember
from delve_wandb.logs import EPOCH
from delve_wandb.options import Options
from delve_wandb.rows_there import place_of
from delve_wandb.segments import Segment, segment_of, segments
from delve_wandb.sessions import Session, held_here, shared_log, start
from delve_wandb.shared_log import ATTEMPT, AXIS, SharedLog

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
    held = _held(opened, options, run)
    if held is None:
        return session, None
    _mark_what_stays(opened, held, run)
    kept = [epoch for epoch in held if epoch < run.initial_epoch]
    session.log = shared_log(opened, options, run, kept)
    return session, run.first_lacking(held)


def _held(opened: Run, options: Options, run: RunInfo) -> Collection[int] | None:
    """The epochs that the run holds; None, with a warning, where nobody can tell."""
    here = held_here(opened, options, run)
    # A kill can let the summary reach the server before the rows.
    has_rows = opened.starting_step > 0 or opened.step > 0
    known = _by_summary(opened, options, run)
    if has_rows and known is not None:
        return known | here
    if here:
        return here
    if opened.offline:
        return _held_locally(opened, options, run)
    if not has_rows or not run.epochs:
        return ()
    why = "its summary on the server does not tell which epochs it holds"
    _name_what_is_not_fed_again(opened, list(run.epochs), run, why)
    return None


def _by_summary(opened: Run, options: Options, run: RunInfo) -> set[int] | None:
    """The epochs up to the last that the run says it holds; offline, it knows those of now."""
    summary: Any = opened.summary
    last = summary.get(options.prefix + AXIS)
    if last is None and not options.prefix and any(map(summary.get, run.metrics)):
        # Rows of an earlier version of Delve: nothing lies behind this one, be it the user's.
        last = summary.get(EPOCH)
    if not isinstance(last, int | float):
        return None
    held = set(range(int(last) + 1))
    if summary.get(options.prefix + ATTEMPT, 0) != (run.state.get("attempt") or 0):
        # The rows are those of before the last resume at a lower epoch, and void from there on.
        first = run.state.get("attempt_first") or 0
        held = {epoch for epoch in held if epoch < first}
    return held


def _held_locally(opened: Run, options: Options, run: RunInfo) -> set[int] | None:
    """What the files of earlier processes hold; None where they are not all that there is."""
    folder = Path(opened.settings.wandb_dir).parent
    files = {segment.name: segment for segment in segments(folder, opened.id)}
    known: dict[str, int] = {**(run.state.get("segments") or {})}
    known.pop(segment_of(opened).name, None)
    held: set[int] = set()
    for name, first in known.items():
        held = {epoch for epoch in held if epoch < first}  # later ones became void with a resume
        held |= _delves_epochs(files[name], options) if name in files else set()
    lacking = [epoch for epoch in run.epochs if epoch not in held]
    if lacking and (known.keys() - files.keys() or run.state.get("online")):
        why = "offline W&B cannot tell what it holds beyond its local files"
        _name_what_is_not_fed_again(opened, lacking, run, why)
        return None
    return held


def _delves_epochs(segment: Segment, options: Options) -> set[int]:
    """The epochs in a file's rows; the key is Delve's own."""
    places = (place_of(row, options.prefix) for row in segment.rows())
    return {int(place) for place in places if place.isdecimal()}


def _mark_what_stays(opened: Run, held: Collection[int], run: RunInfo) -> None:
    """Name the epochs that are void and stay, and have the rows from now on marked."""
    stays = sorted(epoch for epoch in held if epoch >= run.initial_epoch)
    if stays:
        attempt = (run.state.get("attempt") or 0) + 1
        remember(run, attempt=attempt, attempt_first=run.initial_epoch)
        logger.warning(
            "W&B run %s is your own, and W&B cannot drop rows: it keeps what was recorded for "
            "epochs %s beside the new rows, which are marked by %s = %d",
            opened.id,
            enumerate_epochs(stays),
            ATTEMPT,
            attempt,
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
