"""The MLflow writer: one run, one batch an epoch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from delve.errors import ArgumentError, RejectedError
from delve.log import get_logger
from delve.records import Metric, RunInfo
from delve_mlflow import addresses, database
from delve_mlflow.identity import Remembered, is_prefix, readable
from delve_mlflow.mistakes import users_mistakes_named
from delve_mlflow.patience import LONGEST, SHORT, bounded_waiting

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from delve_mlflow.points import Points
    from delve_mlflow.search import Found, Search

_QUICK = 0.5  # seconds; a call that failed so soon can be repeated within the bounds

T = TypeVar("T")

logger = get_logger(__name__)


class MLflowWriter:
    """Records into MLflow: a metric's key is its name, its step the epoch.

    Tracking URI, experiment and active run are the user's where they are set (by MLflow's own
    functions or variables), MLflow's defaults where not. A run of the user's is never ended.

    Args:
        savepath: The run's folder.
        run_name: The name of a run that Delve creates; the folder's name by default.
        tags: Tags for it.
        prefix: What each metric's key begins with, such as ``fold0/``, where several runs of
            Delve's record into one run of the user's. A resumed run keeps its own.

    Raises:
        ArgumentError: An argument is of no use to MLflow.
    """

    def __init__(
        self,
        savepath: str | os.PathLike[str],
        run_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        prefix: str = "",
    ) -> None:
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
        self._ended: str | None = None  # with this status, as far as is known
        self._unanswered = False  # the last call failed
        self._said: set[str] = set()

    def start(self, run: RunInfo) -> None:
        """Use the user's active run, or create one."""
        with users_mistakes_named():
            self._ask(lambda: self._use(run, self._search(run).begin()))

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Go on in the same MLflow run; one with later points is replaced by a copy without."""
        with users_mistakes_named():
            return self._ask(lambda: self._resume(initial_epoch, run))

    def add_scalar(self, name: str, value: float) -> None:
        """Stage a scalar of the user's."""
        self._row[name] = value

    def add_scalars(self, value_dict: dict[Metric, float]) -> None:
        """Stage the layer metrics."""
        self._row.update(value_dict.items())

    def save(self, epoch: int, timestamp: int, run: RunInfo) -> None:
        """Send the epoch as one batch.

        Raises:
            RejectedError: MLflow takes some of it never; the rest is there.
        """
        if epoch >= run.initial_epoch:
            self._ended = None  # it really goes on
        row, self._row = self._row, {}
        points = self._points
        if row and points:
            refused = self._ask(lambda: points.send(row, epoch, timestamp))
            if refused:
                reasons = "; ".join(dict.fromkeys(refused.values()))
                reason = addresses.without_credentials(reasons, self._uri)
                raise RejectedError(refused, reason, rest_arrived=True)

    def close(self, error: BaseException | None, run: RunInfo) -> None:
        """Mark a run that Delve created as finished, or failed; the user's own is left alone.

        A run that had ended, and got only what it had missed, ends with the status that it had.
        """
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
        seconds, begun = SHORT if self._unanswered else LONGEST, time.monotonic()
        try:
            try:
                self._ask(tell, seconds)
            except Exception:
                if time.monotonic() - begun > _QUICK:
                    raise
                time.sleep(database.PAUSE)
                self._ask(tell, SHORT)
        except Exception:
            run.remember(untold=status)
            raise
        if Remembered.of(run.state).untold:
            run.remember(untold=None)
        self._owned = False

    def _ask(self, call: Callable[[], T], seconds: int = LONGEST) -> T:
        """Call MLflow, so that it neither waits for long nor shows a password in what it raises."""
        until = time.monotonic() + seconds
        try:
            with bounded_waiting(seconds):
                if self._database and self._database.exists():
                    database.wait_until_free(self._database, seconds)
                answer = database.again(call, until) if self._database else call()
        except Exception as error:
            self._unanswered = True
            addresses.hide_credentials(error, self._uri)
            raise
        self._unanswered = False
        return answer

    @cached_property
    def _uri(self) -> str:
        """The tracking URI that was in force when the run was opened."""
        import mlflow

        return mlflow.get_tracking_uri()

    @cached_property
    def _database(self) -> Path | None:
        return database.path_of(self._uri)

    @cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        addresses.check(self._uri)
        if self._database:
            database.made(
                self._database,
                lambda: MlflowClient(self._uri).search_experiments(max_results=1),
                LONGEST,
            )
        return MlflowClient(self._uri)

    def _search(self, run: RunInfo) -> Search:
        from delve_mlflow.search import Search

        return Search(
            self._client,
            run,
            address=addresses.without_credentials(self._uri, self._uri),
            name=self._run_name,
            tags=self._tags,
            given_prefix=self._given_prefix,
            say=self._say_once,
        )

    def _resume(self, initial_epoch: int, run: RunInfo) -> int:
        search = self._search(run)
        self._ended = self._ended or search.remembered.untold
        try:
            found = search.again(initial_epoch)
        finally:  # a run that a copy has replaced cannot be asked again
            self._ended = self._ended or search.ended
        if found.owned and found.run.info.status != "RUNNING":
            self._client.update_run(found.run.info.run_id, status="RUNNING")
        self._use(run, found)
        # The last epoch may be there in part: it is asked for again, which adds nothing twice.
        return run.first_lacking(range(found.last_epoch))

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
        log_params(self._client, self._run_id, run.config)
        self._points = Points(self._client, self._run_id, found.prefix, found.last_point + 1)

    def _say_once(self, message: str, *arguments: object) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning(message, *arguments)


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
