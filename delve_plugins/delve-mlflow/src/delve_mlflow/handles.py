"""A run that the user names or has started, and the mark in it of what became void."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any

from delve.errors import ArgumentError

VOID = "delve.void."  # with the identity of Delve's run: which of its points in a run are void

_RUN_ID = re.compile(r"[a-zA-Z0-9][\w-]{0,255}")  # MLflow's own form
_MOST_MARKS = 50  # what a tag has room for


@dataclass(frozen=True)
class Handle:
    """Where the user wants the metrics.

    Attributes:
        run_id: A run that is there; None for the active one, or one of Delve's own.
        tracking_uri: The address of the server or store; None for that in force.

    Raises:
        ArgumentError: MLflow has no such ids or addresses.
    """

    run_id: str | None = None
    tracking_uri: str | None = None

    def __post_init__(self) -> None:
        run_id: Any = self.run_id
        if run_id is not None and not (isinstance(run_id, str) and _RUN_ID.fullmatch(run_id)):
            raise ArgumentError(
                "run_id must be the id of a run in MLflow, such as that of "
                f"mlflow.active_run().info.run_id, not {run_id!r}"
            )
        uri: Any = self.tracking_uri
        if uri is not None and not (isinstance(uri, str) and uri):
            raise ArgumentError(
                f"tracking_uri must be MLflow's, such as 'sqlite:///mlflow.db', not {type(uri)}"
            )

    @property
    def uri(self) -> str:
        """The tracking URI."""
        import mlflow

        return self.tracking_uri or mlflow.get_tracking_uri()

    @property
    def users_run(self) -> str | None:
        """The id of the run that the user has named or started, if there is one at the address."""
        import mlflow

        if self.run_id is not None:
            return self.run_id
        if self.tracking_uri not in (None, mlflow.get_tracking_uri()):
            return None  # the active run is elsewhere
        active = mlflow.active_run()
        return active.info.run_id if active else os.environ.get("MLFLOW_RUN_ID")


def with_void_mark(mark: str | None, first_void: int, time: int) -> str:
    """A tag that says which of a run's points are void, where MLflow cannot drop them.

    Args:
        mark: The tag so far.
        first_void: Points of Delve's from this step on are void
        time: if they are older than that, in milliseconds since 1970.
    """
    try:
        held = json.loads(mark or "[]")
    except ValueError:
        held = []
    marks = held if isinstance(held, list) else []
    return json.dumps([*marks, {"from_step": first_void, "before": time}][-_MOST_MARKS:])
