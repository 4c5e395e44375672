"""How it stands with a run: whether it records, and how it ended if it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from delve.journal.lock import is_held
from delve.journal.stored_run import StoredRun

State = Literal["running", "finished", "failed", "killed", "unknown"]


@dataclass(frozen=True)
class Status:
    """How it stands with a run.

    Attributes:
        state: ``running``; ``finished``; ``failed``, by an exception; ``killed``, where its process
            is gone and has not told of an end; ``unknown`` where the journal tells of no process,
            as those of earlier versions, or where nobody can see whether one is still there.
        error: The class of the exception by which it failed; empty otherwise.
        time: When that was, or the last that is known of it: in milliseconds since 1970.
    """

    state: State
    error: str
    time: int

    def __str__(self) -> str:
        return f"{self.state} ({self.error})" if self.error else self.state


def status_of(run: StoredRun) -> Status:
    """How it stands with a run at this moment."""
    known = run.last_time or run.created
    held = is_held(run.folder)
    if held:
        return Status("running", "", known)
    if run.ended is not None:
        error = run.ended.error or ""
        return Status("failed" if error else "finished", error, run.ended.time)
    is_gone = run.begun is not None and held is not None
    return Status("killed" if is_gone else "unknown", "", known)
