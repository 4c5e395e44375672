"""A run in MLflow that somebody else made, and that gets metrics of this run."""

from __future__ import annotations

import time
from collections.abc import Callable

from mlflow.entities import Run

from delve_mlflow import runs
from delve_mlflow.client import Client
from delve_mlflow.handles import VOID, with_void_mark
from delve_mlflow.identity import RECORDS, Identity, Remembered, shown
from delve_mlflow.naming import Naming


class Guest:
    """Comes into a run of the user's, and leaves a mark there by which it is known again.

    Args:
        client: MLflow's client.
        identity: What tells this run's runs in MLflow from all others.
        naming: How its metrics are called.
        remembered: What the journal remembers of MLflow.
        say: Tells the user something, once.
    """

    def __init__(
        self,
        client: Client,
        identity: Identity,
        naming: Naming,
        remembered: Remembered,
        say: Callable[..., None],
    ) -> None:
        self._client = client
        self._identity = identity
        self._naming = naming
        self._remembered = remembered
        self._say = say

    def enter(self, known: Run) -> None:
        """Leave the mark."""
        others = self._identity.others(known.data.tags)
        beside = [folder for folder, prefix in others.items() if prefix == self._naming.prefix]
        if beside:
            self._say(
                "MLflow run %s gets the same metrics from another run of Delve's (%s): their "
                "curves mix there. Give each names of its own, as by writer_args={'prefix': "
                "'fold0/'}, or an MLflow run of its own",
                known.info.run_id,
                shown(", ".join(beside)),
            )
        if self._identity.savefile in others and not self._identity.records_into(known.data.tags):
            self._mark_as_void(known, 0)  # an earlier run in this folder, which this one replaces
        tags = {RECORDS + self._identity.run_id: self._identity.savefile}
        runs.tag(self._client, known, tags | self._naming.guest_tags)

    def enter_again(self, known: Run, first_void: int) -> set[str]:
        """Go on in it, from a step on; returns the keys of the layers' metrics that it holds."""
        was_recorded = (
            self._identity.records_into(known.data.tags)
            or self._remembered.run_id == known.info.run_id
        )
        if was_recorded:
            self._naming.take_from(known)
        our_keys = self._naming.of_run.layers if was_recorded else set()
        if runs.last_step(known, our_keys) >= first_void:
            say_that_points_stay(self._say, known, "is your own", first_void)
            self._mark_as_void(known, first_void)
        self.enter(known)
        return our_keys

    def _mark_as_void(self, known: Run, first: int) -> None:
        """Say in the run which of Delve's points no longer count."""
        tag, now = VOID + self._identity.run_id, int(time.time() * 1000)
        runs.tag(self._client, known, {tag: with_void_mark(known.data.tags.get(tag), first, now)})


def say_that_points_stay(say: Callable[..., None], known: Run, why: str, first_void: int) -> None:
    """Say that a run keeps what is void."""
    say(
        "MLflow cannot drop points, and run %s %s, so it keeps what was recorded from step "
        "%d on beside the new points",
        known.info.run_id,
        why,
        first_void,
    )
