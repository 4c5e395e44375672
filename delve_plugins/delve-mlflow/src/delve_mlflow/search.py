"""The run in MLflow that a run of Delve's begins or goes on in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from delve.base import get_logger
from delve.records import RunInfo
from delve_mlflow import description, points, runs, succession
from delve_mlflow.client import Client
from delve_mlflow.guest import Guest, say_that_points_stay
from delve_mlflow.identity import (
    COPIED_FROM,
    RUN_ID,
    SAVEFILE,
    TAKEN_BY,
    Identity,
    Remembered,
    shown,
)
from delve_mlflow.keys import Keys
from delve_mlflow.naming import Naming
from delve_mlflow.options import Options

logger = get_logger(__name__)


@dataclass(frozen=True)
class Found:
    """A run to record into.

    Attributes:
        run: The run in MLflow.
        owned: Whether Delve made it.
        keys: How names become keys there.
        last_step: That of the last row that it holds, as far as can be told; -1 for none.
        last_point: The last step of any metric that might be ours.
    """

    run: Run
    owned: bool
    keys: Keys
    last_step: int = -1
    last_point: int = -1


class Search:
    """Finds the run to begin or to go on in, or makes it.

    Args:
        client: MLflow's client.
        run: What the writer is told.
        address: The tracking URI, without user and password.
        options: What the user wants.
        users_run: The run that the user has named or started, if there is one.
        say: Tells the user something, once.

    Attributes:
        remembered: What the journal remembers of MLflow.
        ended: The status of the run that was found, if it had ended.
    """

    def __init__(
        self,
        client: Client,
        run: RunInfo,
        address: str,
        options: Options,
        users_run: str | None,
        say: Callable[..., None],
    ) -> None:
        self._client = client
        self._run = run
        self._address = address
        self._options = options
        self._users_run = users_run
        self._say = say
        self.remembered = Remembered.of(run.state)
        self.ended: str | None = None
        self._unfinished: dict[str, Run] = {}
        self._identity = Identity.of(run, self.remembered)
        self._naming = Naming(
            run, self.remembered, self._identity, options.prefix, options.key_style
        )
        self._guest = Guest(client, self._identity, self._naming, self.remembered, say)
        if self.remembered.useless:
            say(
                "what the journal remembers of MLflow cannot be used and is passed over: %s",
                ", ".join(self.remembered.useless),
            )

    def begin(self, first_void: int = 0) -> Found:
        """The user's run, or one of Delve's own."""
        if self._users_run:
            known = self._client.get_run(self._users_run)
            self._guest.enter(known)
            return self._found(known, owned=False, our_keys=set())
        in_force = self._in_force(self._experiment)  # an earlier attempt may have made it
        if in_force:
            return self._own_again(in_force[0], first_void)
        self._delete_unfinished()
        return Found(self._make(self._origins_run), owned=True, keys=self._naming.keys)

    def again(self, first_void: int) -> Found:
        """The run to go on in, without points at step ``first_void`` or later if Delve made it."""
        if self._users_run:
            return self._guest_again(self._client.get_run(self._users_run), first_void)
        if self._is_elsewhere:
            self._say(
                "the run was recorded in MLflow at %s, and the tracking URI is now %s: going on "
                "there, with all epochs",
                shown(self.remembered.address or ""),
                self._address,
            )
        hinted = self.remembered.run_id and runs.active(self._client, self.remembered.run_id)
        if hinted and self._identity.records_into(hinted.data.tags):
            return self._guest_again(hinted, first_void)
        known = self._known(hinted or None)
        if known is None:
            if hinted:
                self._say(
                    "MLflow run %s, which the journal names, does not say that it records this "
                    "run: it is left alone, and a run of this run's own begins",
                    hinted.info.run_id,
                )
            return self.begin(first_void)
        return self._own_again(known, first_void)

    @property
    def _is_elsewhere(self) -> bool:
        return self.remembered.address not in (None, self._address)

    @cached_property
    def _experiment(self) -> str:
        return runs.experiment_in_force(self._client)

    @property
    def _origins_run(self) -> str | None:
        """The run of the folder that this one was copied from."""
        origin = self._run.origin
        return Remembered.of(origin.state).run_id if origin else None

    def _known(self, hinted: Run | None) -> Run | None:
        """The run of Delve's own to go on in."""
        in_force = self._in_remembered_experiment() or self._in_force(self._experiment)
        if hinted and self._identity.owns(hinted.info.run_id, hinted.data.tags):
            named = [run for run in in_force if run.info.run_id == hinted.info.run_id]
            if named or (not in_force and runs.is_in_force(hinted)):
                in_force = named + [run for run in in_force if run not in named] or [hinted]
        if not self._identity.may_be_copy:
            succession.delete_twins(self._client, in_force[1:])
        return next(iter(in_force), None)

    def _in_remembered_experiment(self) -> list[Run]:
        if self._is_elsewhere or self.remembered.experiment_id is None:
            return []
        try:
            return self._in_force(self.remembered.experiment_id)
        except MlflowException as error:
            if error.error_code in runs.ABSENT:
                return []
            raise

    def _in_force(self, experiment: str) -> list[Run]:
        found = runs.find(self._client, experiment, self._identity)
        in_force = [run for run in found if runs.is_in_force(run)]
        if self._identity.may_be_copy:  # who else may be at work on them cannot be seen
            return in_force
        self._unfinished |= {run.info.run_id: run for run in found if runs.is_unfinished(run)}
        return succession.settle(self._client, in_force, self._our_keys)

    def _delete_unfinished(self) -> None:
        """Delete the copies that a crash left unfinished, and that nobody goes on with."""
        while self._unfinished:
            self._client.delete_run(next(iter(self._unfinished)))
            del self._unfinished[next(iter(self._unfinished))]

    def _make(self, copied_from: str | None) -> Run:
        tags = {
            description.TAG: description.of(self._identity.savefile),
            **self._options.tags,
            RUN_ID: self._identity.run_id,
            SAVEFILE: self._identity.savefile,
            **self._naming.tags,
        }
        if copied_from:
            tags[COPIED_FROM] = copied_from
        if self._run.may_be_copy:
            tags[TAKEN_BY] = self._identity.here
        run = self._client.create_run(self._experiment, self._options.run_name, tags)
        if self._run.origin:
            self._say(
                "the folder is a copy of %s: MLflow run %s is left to that one, and %s, a run of "
                "its own, gets what the journal holds",
                shown(self._run.origin.savefile),
                copied_from or "(unknown)",
                run.info.run_id,
            )
        return run

    def _own_again(self, known: Run, first_void: int) -> Found:
        self._naming.take_from(known)
        our_keys = self._our_keys(known)
        sent = points.last_sent(known.data.tags)
        last = max(runs.last_step(known, our_keys), *(step for step, _ in sent), -1)
        is_void = last >= first_void
        taken_by, here = known.data.tags.get(TAKEN_BY), self._identity.here
        is_others = taken_by not in (None, here)
        if self._run.may_be_copy and (is_others or (is_void and taken_by is None)):
            return self._parted(known)
        if runs.has_ended(known):
            self.ended = known.info.status
        if is_void:
            if not self._identity.others(known.data.tags):
                known = self._cut(known, first_void, our_keys)
            else:
                why = "holds other runs of Delve's too"
                say_that_points_stay(self._say, known, why, first_void)
        elif self._run.may_be_copy:  # a second folder from elsewhere finds it taken
            runs.tag(self._client, known, {TAKEN_BY: here})
        else:  # it may have been moved
            runs.tag(self._client, known, self._place_of(known))
        self._delete_unfinished()
        return self._found(known, owned=True, our_keys=our_keys)

    def _place_of(self, known: Run) -> dict[str, str]:
        """What tells where the run lies now; a description that a user has changed stays."""
        before, now = known.data.tags.get(SAVEFILE, ""), self._identity.savefile
        is_ours = known.data.tags.get(description.TAG) == description.of(before)
        return {SAVEFILE: now} | ({description.TAG: description.of(now)} if is_ours else {})

    def _cut(self, known: Run, first_void: int, our_keys: set[str]) -> Run:
        """Replace a run by a copy that ends before ``first_void``."""
        tail = succession.Tail(
            first_void,
            our_keys,
            self._naming.of_run.layers_among(known.data.metrics),
            points.last_sent(known.data.tags),
        )
        tags, unfinished = self._place_of(known), self._unfinished.values()
        runs.tag(self._client, known, tags)
        copy_id = succession.copy_without(self._client, known, tail, tags, unfinished)
        self._run.remember(run_id=copy_id, owned=True)
        copy = succession.put_in_force(self._client, copy_id)
        self._unfinished.pop(copy_id, None)
        succession.settle(self._client, [copy], self._our_keys)
        logger.info(
            "MLflow run %s holds what is void, from step %d on: run %s takes its place without it",
            known.info.run_id,
            first_void,
            copy_id,
        )
        return copy

    def _parted(self, known: Run) -> Found:
        """A run of this folder's own, as another folder may still record into the known one."""
        in_force = self._in_force(self._experiment)
        ours = [run for run in in_force if run.data.tags.get(COPIED_FROM) == known.info.run_id]
        run = ours[0] if ours else self._make(known.info.run_id)
        self._say(
            "MLflow run %s holds more than the journal, and the folder may be a copy of one that "
            "still records into it: it is left alone, and %s, a run of this folder's own, gets "
            "what the journal holds",
            known.info.run_id,
            run.info.run_id,
        )
        return Found(run, owned=True, keys=self._naming.keys)

    def _guest_again(self, known: Run, first_void: int) -> Found:
        our_keys = self._guest.enter_again(known, first_void)
        return self._found(known, owned=False, our_keys=our_keys)

    def _found(self, known: Run, owned: bool, our_keys: set[str]) -> Found:
        return Found(
            known,
            owned,
            self._naming.keys,
            last_step=runs.last_step(known, our_keys),
            last_point=runs.last_step(known, our_keys | self._naming.of_run.all),
        )

    def _our_keys(self, known: Run) -> set[str]:
        return self._naming.of_run.in_own(known.data.metrics)
