"""The MLflow writer: one run, one batch an epoch."""

from __future__ import annotations

import math
import os
import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from delve.base import get_logger
from delve.errors import ArgumentError, BackendLostError, RejectedError, UndeliveredError
from delve.journal import run_notes
from delve.records import Metric, RunInfo, enumerate_epochs
from delve.writers import LeftOut
from delve_mlflow import addresses, database
from delve_mlflow.handles import Handle
from delve_mlflow.identity import Remembered, is_prefix, readable
from delve_mlflow.limits import SHORT
from delve_mlflow.mistakes import users_mistakes_named
from delve_mlflow.patience import Patience
from delve_mlflow.rows import Row, Waiting

if TYPE_CHECKING:
    from delve_mlflow.client import Client
    from delve_mlflow.points import Points
    from delve_mlflow.search import Found, Search

_QUICK = 0.5  # seconds; a call that failed so soon can be repeated within the bounds

T = TypeVar("T")

logger = get_logger(__name__)


class MLflowWriter:
    """Records into MLflow: a metric's key is its name, its step the epoch.

    Where rows have a training step, that is the step in MLflow too.

    Tracking URI, experiment and active run are the user's where they are set (by MLflow's own
    functions or variables), MLflow's defaults where not. A run of the user's is never ended.

    Args:
        savepath: The run's folder.
        run_name: The name of a run that Delve creates; the folder's name by default.
        tags: Tags for it.
        prefix: What each metric's key begins with, such as ``fold0/``, where several runs of
            Delve's record into one run of the user's. A resumed run keeps its own.
        run_id: A run that is there, such as that of a trainer's logger: it gets what is Delve's
            alone, no params, and is never ended.
        tracking_uri: Its server or store, where that is not the one in force.
        leave_out: Names of scalars that a run which is not Delve's gets from its owner.

    Raises:
        ArgumentError: An argument is of no use to MLflow.
    """

    def __init__(
        self,
        savepath: str | os.PathLike[str],
        run_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        prefix: str = "",
        run_id: str | None = None,
        tracking_uri: str | None = None,
        leave_out: Collection[str] = (),
    ) -> None:
        self._handle = Handle(run_id, tracking_uri)
        self._left_out = LeftOut(leave_out)
        self._run_name = readable(run_name or Path(savepath).resolve().name)
        self._tags = _checked_tags(tags or {})
        if not isinstance(prefix, str) or (prefix and not is_prefix(prefix)):
            raise ArgumentError(
                f"prefix must be the begin of a key for MLflow, such as 'fold0/', not {prefix!r}: "
                "letters, digits, _ - . / and spaces, 100 at most"
            )
        self._given_prefix = prefix
        self._run_id: str | None = None
        self._owned = False
        self._points: Points | None = None
        self._row: dict[str, float] = {}
        self._waiting = Waiting()
        self._ended: str | None = None  # with this status, as far as is known
        self._failed = False  # the last attempt
        self._said: set[str] = set()
        self._refused: set[str] = set()  # which was said

    def start(self, run: RunInfo) -> None:
        """Use the user's active run, or create one."""
        with users_mistakes_named():
            self._ask(lambda: self._use(run, self._search(run).begin()), run)

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Go on in the same MLflow run; one with later points is replaced by a copy without."""
        first_void = run.initial_x if run.steps else initial_epoch
        with users_mistakes_named():
            return self._ask(lambda: self._resume(first_void, run), run)

    def add_scalar(self, name: str, value: float) -> None:
        """Stage a scalar of the user's."""
        if self._owned or name not in self._left_out:
            self._row[name] = value

    def add_scalars(self, value_dict: dict[Metric, float]) -> None:
        """Stage the layer metrics."""
        self._row.update(value_dict.items())

    def save(self, epoch: int, timestamp: int, run: RunInfo, step: int | None = None) -> None:
        """Send the epoch as one batch.

        Raises:
            RejectedError: MLflow takes some of it never; the rest is there.
            BackendLostError: It does not hold what it said before that it took.
        """
        if epoch >= run.initial_epoch:
            self._ended = None  # it really goes on
        row, self._row = Row(epoch, timestamp, self._row, step), {}
        self._left_out.remember(run)
        if row.values and self._points:
            refused = {} if self._waiting.has_room_for(row) else self._send_waiting(run)
            self._waiting.add(row)
            if not run.comes_again(epoch):
                refused |= self._send_waiting(run)
            self._report(refused, row)

    def _send_waiting(self, run: RunInfo, is_end: bool = False) -> dict[str, str]:
        """Send the epochs that wait; returns why MLflow takes some names not, by name.

        Those that do not arrive are given again; at the end they are kept, for another attempt.

        Raises:
            UndeliveredError: They have not arrived, and were given before the last one.
        """
        points, rows, was_away = self._points, self._waiting.rows, self._failed
        if points is None or not rows:
            return {}

        def send() -> dict[str, str]:
            if was_away:
                self._check(points, run)
            return points.send_all(rows)

        try:
            refused = self._ask(send, run)
        except Exception as error:
            if not is_end:
                self._waiting.clear()
            if isinstance(error, BackendLostError):
                raise BackendLostError(str(error), rows[0].epoch) from error
            if len(rows) == 1 and not is_end:
                raise
            raise UndeliveredError(str(error) or type(error).__name__, rows[0].epoch) from error
        self._waiting.clear()
        return refused

    def _report(self, refused: Mapping[str, str], row: Row) -> None:
        """Raise RejectedError for what MLflow takes never of the epoch at hand, and name the rest.

        Raises:
            RejectedError: There is something of the kind; all else is there.
        """
        reasons = "; ".join(dict.fromkeys(refused.values()))
        reason = addresses.without_credentials(reasons, self._uri) if refused else ""
        named = [name for name in refused if name in row.values]
        others = refused.keys() - {*named, *self._refused}
        self._refused |= refused.keys()
        if others:  # of an epoch that waited
            logger.warning("MLflow refuses %s (%s)", ", ".join(sorted(others)), reason)
        if named:
            raise RejectedError(named, reason, rest_arrived=True)

    def close(self, error: BaseException | None, run: RunInfo) -> None:
        """Mark a run that Delve created as finished, or failed; the user's own is left alone.

        A run that had ended, and got only what it had missed, ends with the status that it had.
        """
        try:
            self._report(self._send_waiting(run, is_end=True), Row(-1, 0, {}))
        finally:
            self._finish(error, run)

    def _leave_notes(self, run: RunInfo) -> None:
        """Put what the journal tells of the network's health among the run's files."""
        notes = run_notes(run.savefile) if self._run_id and not self._failed else []
        if not self._run_id or not (notes or run.state.get("noted")) or self._failed:
            return
        from delve_mlflow.client import NOTES_FILE, NOTES_FOLDER

        run_id, told = self._run_id, "\n".join(f"- {note}" for note in notes) or "nothing any more"
        prefix = str(run.state.get("prefix") or "").replace("/", "-")
        file = f"{NOTES_FOLDER}/{prefix}{NOTES_FILE}"
        self._ask(lambda: self._client.log_text(run_id, f"{told}\n", file), run, SHORT)
        run.remember(noted=bool(notes))

    def _finish(self, error: BaseException | None, run: RunInfo) -> None:
        try:
            self._leave_notes(run)
        except Exception as failure:  # the numbers are there; so are the notes, in `delve show`
            logger.debug("notes that MLflow does not take", exc_info=failure)
        if error:
            self._ended = "FAILED"
        if self._owned and self._run_id:
            self._end(run, self._run_id, self._ended or "FINISHED")
        elif error and not self._run_id:
            run.remember(untold="FAILED")

    def _end(self, run: RunInfo, run_id: str, status: str) -> None:
        """Set the status; if MLflow does not take it, the next to resume or export the run does."""

        def tell() -> None:
            self._client.set_terminated(run_id, status)

        # A server that has just kept the training waiting is given no second chance to do so.
        is_away, begun = self._failed and self._patience.is_silent, time.monotonic()
        try:
            try:
                self._ask(tell, run, SHORT if is_away else math.inf)
            except Exception:
                if time.monotonic() - begun > _QUICK:
                    raise
                time.sleep(database.PAUSE)
                self._ask(tell, run)
            self._check_at_the_end(run)
        except Exception:
            run.remember(untold=status)
            raise
        if Remembered.of(run.state).untold:
            run.remember(untold=None)
        self._owned = False

    def _check_at_the_end(self, run: RunInfo) -> None:
        if self._points is None:
            return
        points = self._points
        try:
            self._ask(lambda: self._check(points, run), run)
        except BackendLostError:
            raise
        except Exception as error:  # all that was asked for was answered
            logger.debug("MLflow cannot be asked whether it holds all", exc_info=error)

    def _check(self, points: Points, run: RunInfo) -> None:
        """Ask a server whether it holds what it said that it took: a gateway says so of anything.

        Raises:
            BackendLostError: It does not.
        """
        if self._run_id is None or not self._client.is_remote:
            return
        lacking = Remembered.of(run.state).lacking
        is_made_up_for = lacking is not None and points.proof.covers(int(lacking))
        missing = points.proof.missing(self._client, self._run_id)
        if not missing:
            if is_made_up_for:
                run.remember(lacking=None)
            return
        run.remember(lacking=str(missing[0]))
        raise BackendLostError(
            f"MLflow run {self._run_id} does not hold {_rows_named(missing, run)}, which "
            "the tracking server said that it took; `delve export "
            f"{shlex.quote(str(run.savefile))} --to mlflow` delivers them, unless this run does"
        )

    def _ask(self, call: Callable[[], T], run: RunInfo, at_most: float = math.inf) -> T:
        """Call MLflow, so that it neither waits for long nor shows a password in what it raises."""
        try:
            with self._patience.attempt(min(run.time_left(), at_most)):
                answer = call()
        except Exception as error:
            self._failed = True
            addresses.hide_credentials(error, self._uri)
            raise
        self._failed = False
        return answer

    @cached_property
    def _uri(self) -> str:
        """The tracking URI that was in force when the run was opened."""
        return self._handle.uri

    @cached_property
    def _patience(self) -> Patience:
        return Patience(self._uri)

    @cached_property
    def _client(self) -> Client:
        from delve_mlflow.client import Client

        addresses.check(self._uri)
        return Client(self._uri, self._patience)

    def _search(self, run: RunInfo) -> Search:
        from delve_mlflow.search import Search

        return Search(
            self._client,
            run,
            address=addresses.without_credentials(self._uri, self._uri),
            name=self._run_name,
            tags=self._tags,
            given_prefix=self._given_prefix,
            users_run=self._handle.users_run,
            say=self._say_once,
        )

    def _resume(self, first_void: int, run: RunInfo) -> int:
        search = self._search(run)
        self._ended = self._ended or search.remembered.untold
        try:
            found = search.again(first_void)
        finally:  # a run that a copy has replaced cannot be asked again
            self._ended = self._ended or search.ended
        if found.owned and found.run.info.status != "RUNNING":
            self._client.set_status(found.run.info.run_id, "RUNNING")
        self._use(run, found)
        # The last epoch may be there in part: it is asked for again, which adds nothing twice.
        held = {epoch for epoch in run.epochs if run.x_of(epoch) < found.last_step}
        first, lacking = run.first_lacking(held), search.remembered.lacking
        return first if lacking is None else min(first, run.epoch_at(int(lacking)))

    def _use(self, run: RunInfo, found: Found) -> None:
        """Record into this run from now on."""
        from delve_mlflow.params import log_params
        from delve_mlflow.points import Points

        self._run_id, self._owned = found.run.info.run_id, found.owned
        run.remember(
            address=addresses.without_credentials(self._uri, self._uri),
            experiment_id=found.run.info.experiment_id,
            run_id=self._run_id,
            owned=found.owned,
            prefix=found.prefix,
        )
        self._left_out.recall(run)
        if self._handle.run_id is None:  # the owner of a run that is named has told its own
            log_params(self._client, self._run_id, run.config)
        self._waiting = Waiting()
        self._points = Points(
            self._client, self._run_id, found.prefix, found.owned, found.last_point + 1
        )

    def _say_once(self, message: str, *arguments: object) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning(message, *arguments)


def _rows_named(steps: Sequence[int], run: RunInfo) -> str:
    """Rows that are known by their steps in MLflow, in words."""
    if run.axis == "step":
        return f"the rows of steps {', '.join(map(str, steps))}"
    return f"epochs {enumerate_epochs(steps)}"


def _checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(tags, Mapping):
        raise ArgumentError(f"tags must be a dictionary of texts for MLflow, not {tags!r}")
    for key in tags:
        if not isinstance(key, str) or not 0 < len(key) <= 250:
            raise ArgumentError(
                f"tags: MLflow takes texts of 1 to 250 characters as keys, not {key!r}"
            )
        if key.startswith("delve."):
            raise ArgumentError(f"tags: {key!r} is one of Delve's own; give it another name")
    return {readable(key): readable(str(value)) for key, value in tags.items()}
