"""The W&B run of a run that is resumed: found again, and cut back to the epochs below the first.

On a run of Delve's own W&B's step is the epoch, so that the server can tell what it holds.
"""

from __future__ import annotations

import itertools
import shlex

from wandb.errors import CommError

from delve.base import get_logger
from delve.errors import WriterConfigurationError
from delve.records import RunInfo
from delve_wandb.identity import is_begun_here, is_marked, known_id, remember
from delve_wandb.logs import EPOCH
from delve_wandb.opening import finish_run, is_offline, open_run, users_run
from delve_wandb.options import Options
from delve_wandb.remote import rows_held
from delve_wandb.segments import Segment, segments
from delve_wandb.sessions import Session, begin, let_go, own
from delve_wandb.users_run import resume_shared

logger = get_logger(__name__)


def resume(options: Options, run: RunInfo) -> tuple[Session, int | None]:
    """Go on with the run; see :func:`delve_wandb.sessions.start` for what is raised.

    Returns the session and the first epoch that is to be fed again, None where nobody can tell.
    """
    run_id = known_id(run)
    if users_run(options) is not None:
        return resume_shared(options, run)
    if not run_id:
        _name_what_is_left(run)
        return resume_shared(options, run)
    if _may_be_anothers(run) and not _holds_only_what_is_known(options, run, run_id):
        return _begin_beside(options, run, run_id)
    if is_offline(options):
        return _resume_offline(options, run, run_id)
    return _resume_online(options, run, run_id)


def _name_what_is_left(run: RunInfo) -> None:
    """Say that a run which the folder names as Delve's own, but which is not, gets nothing."""
    if run.state.get("owned") and run.state.get("run_id"):
        logger.warning(
            "%s names W&B run %s as its own, which was not begun for this run: it is left as it "
            "is, and a new run gets all epochs",
            run.savefile,
            run.state["run_id"],
        )
        remember(run, run_id=None, owned=False)


def _may_be_anothers(run: RunInfo) -> bool:
    """Whether another folder, out of sight, may record into the known run, too."""
    return run.may_be_copy and not is_begun_here(run)


def _holds_only_what_is_known(options: Options, run: RunInfo, run_id: str) -> bool:
    """Whether a run can be gone on with without dropping what another folder may have sent."""
    if is_offline(options):
        return False  # nobody can be asked
    held = rows_held(options, run, run_id)
    known = min(max(run.epochs, default=-1) + 1, run.initial_epoch)
    return held is not None and held <= known


def _begin_beside(options: Options, run: RunInfo, run_id: str) -> tuple[Session, int]:
    logger.warning(
        "%s may be a copy, and W&B run %s holds, or may hold, what is not in its journal: that run "
        "is left as it is, and a new one, linked to it, gets all epochs",
        run.savefile,
        run_id,
    )
    remember(run, copied_from=run_id)
    return begin(options, run, again=False), run.first_lacking(())


def _resume_online(options: Options, run: RunInfo, run_id: str) -> tuple[Session, int]:
    earlier = [] if _gaps(run) else segments(options.folder, run_id)
    opened = open_run(options, run.state, id=run_id, resume="allow")
    if opened.resumed and not is_marked(opened, run):
        let_go(opened)
        return begin(options, run, again=False), run.first_lacking(())
    held = opened.starting_step  # run.step says 0 until the first log
    if held <= run.initial_epoch:
        return own(opened, run, held, earlier), run.first_lacking(range(held))
    finish_run(opened)  # a server rewinds only a run that has ended
    if _may_be_anothers(run):  # it has grown since it was looked at
        return _begin_beside(options, run, run_id)
    return _rewind(options, run, run_id), run.initial_epoch


def _rewind(options: Options, run: RunInfo, run_id: str) -> Session:
    first = run.initial_epoch
    try:
        opened = open_run(options, run.state, resume_from=f"{run_id}?_step={first - 1}")
    except (CommError, WriterConfigurationError) as error:
        opened = open_run(options, run.state, id=run_id, resume="must")
        logger.warning(
            "this W&B server does not rewind (%s), so run %s keeps what was recorded for epochs "
            "%d to %d, and takes new values from epoch %d on",
            str(error).splitlines()[0],
            run_id,
            first,
            opened.starting_step - 1,
            opened.starting_step,
        )
        return own(opened, run, opened.starting_step)
    return own(opened, run, first)


def _resume_offline(options: Options, run: RunInfo, run_id: str) -> tuple[Session, int]:
    """Log all that the journal holds into a new segment: no server can tell what it has."""
    earlier = segments(options.folder, run_id)
    gaps, may_be_on_server = _gaps(run), _may_be_on_server(run, run_id, earlier)
    lacking = gaps[-1][-1] if gaps else None  # the last epoch that cannot be fed again
    if gaps and not may_be_on_server:  # a torn file may not hold them either
        rows = [row.get(EPOCH, "") for segment in earlier for row in segment.rows()]
        epochs = [int(epoch) for epoch in rows if epoch.isdecimal()]
        lacking = max((e for e in epochs if any(e in gap for gap in gaps)), default=None)
    superseded = earlier if lacking is None else []
    if not may_be_on_server and lacking is None:
        opened = open_run(options, run.state, id=run_id)
        return own(opened, run, 0, superseded), run.first_lacking(())
    # How much the server holds is not known: it is cut back as far as the journal can refill it.
    first = min(run.epochs, default=run.initial_epoch - 1)
    last_kept = first if lacking is None else lacking
    opened = open_run(options, run.state, resume_from=f"{run_id}?_step={last_kept}")
    session = own(opened, run, last_kept + 1, superseded)
    return session, run.first_lacking(range(last_kept + 1))


def _may_be_on_server(run: RunInfo, run_id: str, earlier: list[Segment]) -> bool:
    """Whether a server may hold rows of the run; that it may is remembered."""
    if run.state.get("online"):
        return True
    known = run.state.get("segments") or {}
    gone = known.keys() - {segment.name for segment in earlier}
    if gone:
        logger.warning(
            "local files of W&B run %s are gone (%s); they count as synced, so that the next "
            "`wandb sync` cuts the run on the server back and fills it again. If they never were, "
            "the server cannot: send the run with `WANDB_MODE=online delve export %s --to wandb`",
            run_id,
            ", ".join(sorted(gone)),
            shlex.quote(str(run.savefile)),
        )
    may_be = bool(gone) or any(segment.is_uploaded for segment in earlier)
    remember(run, online=may_be)
    return may_be


def _gaps(run: RunInfo) -> list[range]:
    """Epochs that W&B may hold and the journal, which has damaged lines, cannot feed again."""
    pairs = itertools.pairwise(run.epochs)
    return [range(epoch + 1, following) for epoch, following in pairs if following - epoch > 1]
