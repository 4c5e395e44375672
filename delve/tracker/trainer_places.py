"""Where the run of a trainer goes on, by its checkpoint and by the journal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from delve.base.log import get_logger
from delve.journal.reading import contents_in
from delve.numerics import processes
from delve.tracker.state_files import epoch_of

logger = get_logger("delve.tracker")


def place_of(
    folder: str | os.PathLike[str],
    step: int | None,
    state: Mapping[str, Any] | None,
    has_steps: bool,
) -> dict[str, Any]:
    """The arguments by which a tracker begins or resumes a run; what rank zero gives counts.

    Args:
        folder: The run's folder.
        step: The training steps, or epochs, that lie behind; 0: none. None: nobody knows.
        state: What the checkpoint holds of the tracker.
        has_steps: Whether the x axis of the run is the step.

    Raises:
        JournalError: The journal cannot be read.
    """
    if step == 0 or not processes.is_rank_zero():
        return {}
    if state:
        return {"initial_epoch": epoch_of(state)}
    if not has_steps and step is not None:
        return {"initial_epoch": step}
    contents = contents_in(Path(folder))
    if contents is None or not contents.places:
        logger.info("%s holds no row of before the checkpoint: a run begins there", folder)
        return {}
    logger.warning(
        "%s: the checkpoint holds no state of Delve, so the samples between the last row before it "
        "and its step are missing from the next row",
        folder,
    )
    return {"initial_epoch": "auto"} if step is None else {"initial_step": step}
