"""How long MLflow's client may wait: with its own defaults one call blocks for minutes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

LONGEST = 8  # seconds
SHORT = 1  # seconds; both together stay below the 10 that an attempt may take

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"

# No retry here: Delve itself feeds a writer again, later, and with fewer words in the log.
LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", _TIMEOUT: str(LONGEST)}


@contextlib.contextmanager
def bounded_waiting(seconds: int = LONGEST) -> Iterator[None]:
    """Keep MLflow's calls inside to a few seconds; limits that the user set stay in force.

    MLflow reads them from the environment at each call, and the user's own calls keep theirs.
    """
    limits = {**LIMITS, _TIMEOUT: str(seconds)}
    ours = {name: value for name, value in limits.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
