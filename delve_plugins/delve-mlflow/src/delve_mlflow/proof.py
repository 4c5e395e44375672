"""That MLflow holds what it was sent: a gateway may answer that all is well, and keep nothing."""

from __future__ import annotations

from collections.abc import Iterable

from delve_mlflow.client import Client


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
