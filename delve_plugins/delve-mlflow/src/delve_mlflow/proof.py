"""That MLflow holds what it was sent: a gateway may answer that all is well, and keep nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from delve.errors import BackendLostError
from delve.records import RunInfo
from delve_mlflow.client import Client
from delve_mlflow.identity import Remembered
from delve_mlflow.rows import rows_named


class Proof:
    """Knows what MLflow said it took, and asks whether it is there.

    One metric stands for all of a row, and as few metrics as can be for all rows. A row is known
    by its step in MLflow.
    """

    def __init__(self) -> None:
        self._sent: dict[str, set[int]] = {}

    def note(self, step: int, keys: Iterable[str]) -> None:
        """MLflow said that it took these metrics of the row at this step."""
        keys = list(keys)
        if keys:
            key = next((key for key in keys if key in self._sent), keys[0])
            self._sent.setdefault(key, set()).add(step)

    def covers(self, step: int) -> bool:
        """Whether it knows of the row at this step that MLflow said so."""
        return any(step in steps for steps in self._sent.values())

    def missing(self, client: Client, run_id: str) -> list[int]:
        """The steps that are not there; they are asked for but once."""
        missing: set[int] = set()
        for key, steps in self._sent.items():
            missing |= steps - {point.step for point in client.history(run_id, key)}
        self._sent.clear()
        return sorted(missing)

    def check(self, client: Client, run_id: str, run: RunInfo) -> None:
        """Ask a server whether it holds what it said that it took: a gateway says so of anything.

        Raises:
            BackendLostError: It does not.
        """
        if not client.is_remote:
            return
        lacking = Remembered.of(run.state).lacking
        is_made_up_for = lacking is not None and self.covers(int(lacking))
        missing = self.missing(client, run_id)
        if not missing:
            if is_made_up_for:
                run.remember(lacking=None)
            return
        run.remember(lacking=str(missing[0]))
        raise BackendLostError(
            f"MLflow run {run_id} does not hold {rows_named(missing, run)}, which "
            "the tracking server said that it took; `delve export "
            f"{shlex.quote(str(run.savefile))} --to mlflow` delivers them, unless this run does"
        )
