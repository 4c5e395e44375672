"""The MLflow writer: one run, one batch an epoch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from delve.errors import ArgumentError, WriterConfigurationError
from delve.log import get_logger
from delve.records import Metric, RunInfo
from delve_mlflow import addresses
from delve_mlflow.keys import clean_key
from delve_mlflow.patience import LONGEST, SHORT, bounded_waiting

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# What MLflow answers where only the user can help.
_USERS_MISTAKES = {
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
}

logger = get_logger(__name__)


class MLflowWriter:
    """Records into MLflow: a metric's key is its name, its step the epoch.

    Tracking URI, experiment and active run are the user's where they are set (by MLflow's own
    functions or variables), MLflow's defaults where not. A run of the user's is never ended.

    Args:
        savepath: The run's folder.
        run_name: The name of a run that Delve creates; the folder's name by default.
        tags: Tags for it.
    """

    def __init__(
        self,
        savepath: str | os.PathLike[str],
        run_name: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._run_name = run_name or Path(savepath).resolve().name
        if not isinstance(tags or {}, Mapping):
            raise ArgumentError(f"tags must be a dictionary of texts for MLflow, not {tags!r}")
        self._tags = dict(tags or {})
        self._run_id: str | None = None
        self._owned = False
        self._row: dict[str, float] = {}
        self._ended: str | None = None  # with this status, as far as is known
        self._unanswered = False  # the last call failed

    def start(self, run: RunInfo) -> None:
        """Use the user's active run, or create one."""
        with _users_mistakes_named(), self._asking():
            self._open(run)

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Go on in the same MLflow run; one with later points is replaced by a copy without."""
        with _users_mistakes_named(), self._asking():
            return self._resume(initial_epoch, run)

    def add_scalar(self, name: str, value: float) -> None:
        """Stage a scalar of the user's."""
        self._row[name] = value

    def add_scalars(self, value_dict: dict[Metric, float]) -> None:
        """Stage the layer metrics."""
        self._row.update(value_dict.items())

    def save(self, epoch: int, timestamp: int, run: RunInfo) -> None:
        """Send the epoch as one batch."""
        from delve_mlflow import runs

        if epoch >= run.initial_epoch:
            self._ended = None  # it really goes on
        row, self._row = self._row, {}
        if row and self._run_id:
            with self._asking():
                runs.log_epoch(self._client, self._run_id, row, epoch, timestamp)

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
        # A server that has just kept the training waiting is given no second chance to do so.
        seconds = SHORT if self._unanswered else LONGEST
        try:
            with self._asking(seconds):
                self._client.set_terminated(run_id, status)
        except Exception:
            run.remember(untold=status)
            raise
        if run.state.get("untold"):
            run.remember(untold=None)
        self._owned = False

    @contextmanager
    def _asking(self, seconds: int = LONGEST) -> Iterator[None]:
        """Call MLflow, so that it neither waits for long nor shows a password in what it raises."""
        try:
            with bounded_waiting(seconds):
                yield
        except Exception as error:
            self._unanswered = True
            addresses.hide_credentials(error, self._uri)
            raise
        self._unanswered = False

    @cached_property
    def _uri(self) -> str:
        """The tracking URI that was in force when the run was opened."""
        import mlflow

        return mlflow.get_tracking_uri()

    @property
    def _address(self) -> str:
        return addresses.without_credentials(self._uri, self._uri)

    @cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        addresses.check(self._uri)
        return MlflowClient(self._uri)

    def _open(self, run: RunInfo) -> None:
        from delve_mlflow import runs

        users_run = runs.users_run()
        if users_run:
            self._use(run, self._client.get_run(users_run), owned=False)
        else:
            experiment = runs.experiment_in_force(self._client)
            # An attempt whose answer got lost may have created it.
            found = runs.find(self._client, experiment, run.run_id)
            self._use(run, found[0] if found else self._create(run, experiment), owned=True)

    def _create(self, run: RunInfo, experiment: str) -> Run:
        from delve_mlflow import runs

        tags = {
            **self._tags,
            runs.RUN_ID: run.run_id,
            runs.SAVEFILE: str(run.savefile.resolve()),
        }
        return self._client.get_run(runs.create(self._client, experiment, self._run_name, tags))

    def _use(self, run: RunInfo, mlflow_run: Run, owned: bool) -> None:
        """Record into this run from now on."""
        from delve_mlflow import runs

        self._run_id, self._owned = mlflow_run.info.run_id, owned
        run.remember(
            address=self._address,
            experiment_id=mlflow_run.info.experiment_id,
            run_id=self._run_id,
            owned=owned,
        )
        changed = runs.log_params(self._client, self._run_id, run.config)
        if changed:
            logger.warning(
                "MLflow keeps the first value of a param; the run still shows the earlier one of: "
                "%s",
                ", ".join(changed),
            )

    def _resume(self, initial_epoch: int, run: RunInfo) -> int:
        from delve_mlflow import runs

        self._ended = self._ended or run.state.get("untold")
        known, owned = self._known_run(run)
        if known is None:
            self._open(run)
            return run.first_lacking(())
        if runs.has_ended(known):
            self._ended = self._ended or known.info.status
        our_keys = self._our_keys(known, owned, run)
        steps = runs.last_steps(known)
        if runs.last_epoch(steps, our_keys) >= initial_epoch:
            if owned:
                known = self._roll_over(known, initial_epoch, run, our_keys)
                steps = runs.last_steps(known)
            else:
                logger.warning(
                    "MLflow cannot drop points, and run %s is your own, so it keeps what was "
                    "recorded from epoch %d on beside the new points",
                    known.info.run_id,
                    initial_epoch,
                )
        if owned:
            if runs.RESUMED_FROM in known.data.tags:
                runs.put_in_force(self._client, known, our_keys)
            self._client.update_run(known.info.run_id, status="RUNNING")
        self._use(run, known, owned)
        # The last epoch may be there in part: it is asked for again, which adds nothing twice.
        return run.first_lacking(range(runs.last_epoch(steps, our_keys)))

    @staticmethod
    def _our_keys(known: Run, owned: bool, run: RunInfo) -> set[str]:
        """The keys that tell which epochs the run holds: in the user's own, those of layers alone.

        Metrics of the user's may bear the names of scalars that Delve is given too.
        """
        if owned:
            layer_metrics = {key for key in known.data.metrics if Metric.parse(key)}
            return layer_metrics | {clean_key(name) for name in run.metrics}
        if run.state.get("run_id") != known.info.run_id:  # nothing was recorded there yet
            return set()
        return {clean_key(name) for name in run.metrics if Metric.parse(name)}

    def _known_run(self, run: RunInfo) -> tuple[Run | None, bool]:
        """The run to go on in, and whether Delve created it."""
        from delve_mlflow import runs

        state = run.state
        users_run = runs.users_run()
        if users_run:
            return self._client.get_run(users_run), False
        here = state.get("address", self._address) == self._address
        if not here and not self._unanswered:  # else it was said at the first attempt
            logger.warning(
                "the run was recorded in MLflow at %s, and the tracking URI is now %s: going on "
                "there, with all epochs",
                state["address"],
                self._address,
            )
        if here and "run_id" in state and not state["owned"]:
            return runs.active(self._client, state["run_id"]), False
        experiment = state.get("experiment_id") if here else None
        found = runs.find(
            self._client, experiment or runs.experiment_in_force(self._client), run.run_id
        )
        recorded = [known for known in found if known.info.run_id == state.get("run_id")]
        if not recorded and not found and here and "run_id" in state:
            return runs.active(self._client, state["run_id"]), True
        return next(iter(recorded or found), None), True

    def _roll_over(self, old: Run, initial_epoch: int, run: RunInfo, our_keys: set[str]) -> Run:
        from delve_mlflow import runs

        copy = self._client.get_run(runs.copy_below(self._client, old, initial_epoch, our_keys))
        run.remember(run_id=copy.info.run_id, owned=True)
        logger.info(
            "MLflow run %s holds epochs from %d on: run %s takes its place without them",
            old.info.run_id,
            initial_epoch,
            copy.info.run_id,
        )
        return copy


@contextmanager
def _users_mistakes_named() -> Iterator[None]:
    """Tell what only the user can mend from a fault of the server."""
    try:
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise WriterConfigurationError(
            f"writer 'mlflow': mlflow cannot be imported ({error}); reinstall it"
        ) from error
    try:
        yield
    except MlflowException as error:
        if "MLFLOW_ALLOW_FILE_STORE" in str(error):
            raise WriterConfigurationError(
                "writer 'mlflow': MLflow no longer writes to folders like ./mlruns, and chose one "
                "because of the tracking URI or because a ./mlruns with runs is left here; set "
                "MLFLOW_TRACKING_URI=sqlite:///mlflow.db (or your server), move ./mlruns away, or "
                "set MLFLOW_ALLOW_FILE_STORE=true to keep the folder"
            ) from error
        if error.error_code in _USERS_MISTAKES:
            raise WriterConfigurationError(
                f"writer 'mlflow': {error}; check MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, "
                "MLFLOW_EXPERIMENT_ID, MLFLOW_RUN_ID and your credentials"
            ) from error
        raise
