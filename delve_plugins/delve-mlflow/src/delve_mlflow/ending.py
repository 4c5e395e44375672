"""The end of a run in MLflow: its status, or the note that MLflow is still to be told."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from delve.records import RunInfo
from delve_mlflow import database
from delve_mlflow.connection import Connection
from delve_mlflow.identity import Remembered
from delve_mlflow.limits import SHORT

_QUICK = 0.5  # seconds; a call that failed so soon can be repeated within the bounds


def end(
    way: Connection,
    run: RunInfo,
    run_id: str,
    status: str,
    check: Callable[[RunInfo], None],
) -> None:
    """Set the status; if MLflow does not take it, the next to resume or export the run does.

    Args:
        way: The way to MLflow.
        run: What the writer is told.
        run_id: The run in MLflow.
        status: How it ended.
        check: Sees whether MLflow holds what it was sent.
    """

    def tell(at_most: float = math.inf) -> None:
        seconds = min(run.time_left(), at_most)
        way.ask(lambda: way.client.set_terminated(run_id, status), seconds)

    # A server that has just kept the training waiting is given no second chance to do so.
    is_away, begun = way.has_failed and way.patience.is_silent, time.monotonic()
    try:
        try:
            tell(SHORT if is_away else math.inf)
        except Exception:
            if time.monotonic() - begun > _QUICK:
                raise
            time.sleep(database.PAUSE)
            tell()
        check(run)
    except Exception:
        run.remember(untold=status)
        raise
    if Remembered.of(run.state).untold:
        run.remember(untold=None)
