"""A checkpoint's state, where its own step has got a row since the checkpoint was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from delve.base.log import get_logger
from delve.errors import DelveError
from delve.journal.reading import contents_in
from delve.journal.stored_run import read_run
from delve.numerics import processes
from delve.tracker.state_files import epoch_of

logger = get_logger("delve.tracker")


def of_all_or_none(state: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """This process's state, if each process of the training has one. Collective."""
    if in_all_processes(state is not None):
        return state
    if state is not None:
        logger.warning("other processes have lost their state in the checkpoint: none is loaded")
    return None


def in_all_processes(is_so: bool) -> bool:
    """Whether it is so in each process of the training. Collective."""
    return all(processes.gather(is_so))


def behind_its_row(state: Mapping[str, Any], folder: Path, x: int | None) -> Mapping[str, Any]:
    """The state with which a training goes on that does not come back to the checkpoint's step.

    For trainers that validate or log at a step after its checkpoint, and after a resume begin with
    the next step: what was recorded in between stays, and its samples are used up. Collective.

    Args:
        state: What :meth:`TrainersTracker.state` gave for the checkpoint.
        folder: The run's folder; that of rank zero counts.
        x: Where on the x axis the checkpoint's step stands; None where that axis is the epoch.
    """
    row = _row_at(folder, epoch_of(state), x)
    if processes.is_distributed():
        row = processes.from_rank_zero(row)
    if row == "none":
        return state
    following = {"epoch": epoch_of(state) + 1}
    if row == "layers":
        return {"tracker": following, "scalars": {}, "samples": False}
    own = state["tracker"]
    is_one = isinstance(own, Mapping)
    moved = {**own, **following} if is_one else [{**one, **following} for one in own]
    return {"tracker": moved, "scalars": {}}


def _row_at(folder: Path, epoch: int, x: int | None) -> Literal["layers", "scalars", "none"]:
    """What the row of this epoch holds, if it is one of this step."""
    if not processes.is_rank_zero():
        return "none"
    try:
        contents = contents_in(folder)
        if contents is None or contents.steps.get(epoch) != x:
            return "none"
        record = read_run(folder).record_of(epoch)
    except (DelveError, OSError) as error:
        logger.debug("the row of epoch %d cannot be read", epoch, exc_info=error)
        return "none"
    if record is None:
        return "none"
    return "layers" if record.metrics else "scalars"
