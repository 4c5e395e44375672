"""How long MLflow's client may wait: with its own defaults one call blocks for minutes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

# A refused connection fails at once; a server that never answers costs twice the timeout.
LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "4"}


@contextlib.contextmanager
def bounded_waiting() -> Iterator[None]:
    """Keep MLflow's calls inside to a few seconds; limits that the user set stay in force.

    MLflow reads them from the environment at each call, and the user's own calls keep theirs.
    """
    ours = {name: value for name, value in LIMITS.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
