"""How long MLflow's client may wait: with its own defaults one call blocks for minutes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

# No retry here: Delve itself feeds a writer again, later, and with fewer words in the log.
LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}


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
