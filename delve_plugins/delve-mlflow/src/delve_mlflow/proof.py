"""That MLflow holds what it was sent: a gateway may answer that all is well, and keep nothing."""

from __future__ import annotations

from collections.abc import Iterable

from delve_mlflow.client import Client


class Proof:
    """Knows what MLflow said it took, and asks whether it is there.

    One metric stands for all of an epoch, and as few metrics as can be for all epochs.
    """

    def __init__(self) -> None:
        self._sent: dict[str, set[int]] = {}

    def note(self, epoch: int, keys: Iterable[str]) -> None:
        """MLflow said that it took these metrics of an epoch."""
        keys = list(keys)
        if keys:
            key = next((key for key in keys if key in self._sent), keys[0])
            self._sent.setdefault(key, set()).add(epoch)

    def covers(self, epoch: int) -> bool:
        """Whether it knows of an epoch that MLflow said so."""
        return any(epoch in epochs for epochs in self._sent.values())

    def missing(self, client: Client, run_id: str) -> list[int]:
        """The epochs that are not there; they are asked for but once."""
        missing: set[int] = set()
        for key, epochs in self._sent.items():
            missing |= epochs - {point.step for point in client.history(run_id, key)}
        self._sent.clear()
        return sorted(missing)
