"""The limits of MLflow's client, which it reads from the environment whenever it asks."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator

LONGEST = 8.0  # seconds for a server that has not answered yet
SHORT = 1.0  # seconds for one that has just kept the training waiting for nothing
MOST = 120.0  # seconds for one call where nobody waits, as in an export: what MLflow takes

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"

# No retry here: Delve itself feeds a writer again, later, and with fewer words in the log.
LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", _TIMEOUT: f"{LONGEST:.0f}"}


class _Ours:
    """Which of them are Delve's, and in how many attempts; trackers may run in several threads."""

    names: frozenset[str] = frozenset()
    attempts = 0
    lock = threading.RLock()  # a signal's handler may come in here and close a tracker


@contextlib.contextmanager
def in_force() -> Iterator[None]:
    """Keep MLflow's calls inside short; limits that the user set stay in force.

    The user's own calls keep theirs.
    """
    with _Ours.lock:
        if not _Ours.attempts:
            _Ours.names = frozenset(LIMITS.keys() - os.environ.keys())
            os.environ.update({name: LIMITS[name] for name in _Ours.names})
        _Ours.attempts += 1
    try:
        yield
    finally:
        with _Ours.lock:
            _Ours.attempts -= 1
            if not _Ours.attempts:
                for name in _Ours.names:
                    os.environ.pop(name, None)


def are_the_users() -> bool:
    """Whether the user has said how long an answer may take."""
    return bool(_Ours.attempts) and _TIMEOUT not in _Ours.names


def set_to(seconds: float) -> None:
    """Have an answer come within some seconds, unless the user has said how long it may take."""
    if _Ours.attempts and _TIMEOUT in _Ours.names:
        os.environ[_TIMEOUT] = str(max(1, math.ceil(seconds)))
