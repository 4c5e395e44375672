"""The MLflow writer: one run, one batch an epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from delve.base import get_logger
from delve.errors import BackendLostError, RejectedError, UndeliveredError
from delve.records import Metric, RunInfo
from delve.writers import LeftOut
from delve_mlflow import addresses
from delve_mlflow.connection import Connection
from delve_mlflow.decoration import Decoration
from delve_mlflow.ending import end
from delve_mlflow.handles import Handle
from delve_mlflow.identity import readable
from delve_mlflow.keys import Keys, KeyStyle, checked_style
from delve_mlflow.mistakes import users_mistakes_named
from delve_mlflow.options import Options, checked_prefix, checked_tags
from delve_mlflow.page import page
from delve_mlflow.rows import Row, Waiting

if TYPE_CHECKING:
    from delve_mlflow.points import Points
    from delve_mlflow.search import Found, Search

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
        figures: Whether to keep pictures of all layers' saturation among the run's artifacts: the
            last epoch, and a heatmap of all epochs for each mode. They need the plugin delve-plot.
            Drawing takes at most 5 % of the run; the last epoch is always drawn at the end.
        key_style: ``plain``, which is the default, has keys like ``train-saturation/conv1``;
            ``ordered`` puts a number before the layer, ``train-saturation/03.conv1``, so that
            MLflow's page shows layers in forward order. A resumed run keeps its own.

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
        figures: bool = False,
        key_style: KeyStyle | None = None,
    ) -> None:
        self._handle = Handle(run_id, tracking_uri)
        self._left_out = LeftOut(leave_out)
        self._options = Options(
            readable(run_name or Path(savepath).resolve().name),
            checked_tags(tags or {}),
            checked_prefix(prefix),
            checked_style(key_style),
        )
        self._decoration = Decoration(figures)
        self._keys = Keys()
        self._run_id: str | None = None
        self._owned = False
        self._points: Points | None = None
        self._row: dict[str, float] = {}
        self._waiting = Waiting()
        self._ended: str | None = None  # with this status, as far as is known
        self._said: set[str] = set()
        self._refused: set[str] = set()  # which was said

    def start(self, run: RunInfo) -> None:
        """Use the user's active run, or create one."""
        self._decoration.check(run)
        with users_mistakes_named():
            self._ask(lambda: self._use(run, self._search(run).begin()), run)

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Go on in the same MLflow run; one with later points is replaced by a copy without."""
        self._decoration.check(run)
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
            self._number_layers(row, run)
            refused = {} if self._waiting.has_room_for(row) else self._send_waiting(run)
            self._waiting.add(row)
            if not run.comes_again(epoch):
                refused |= self._send_waiting(run)
            if epoch >= run.initial_epoch:  # those fed again come all at once
                self._decoration.refresh(run)
            self._report(refused, row)

    def _number_layers(self, row: Row, run: RunInfo) -> None:
        """Settle the numbers of layers that are new, where keys have any."""
        numbers = self._keys.numbers
        layers = {name.layer for name in row.values if isinstance(name, Metric)}
        if numbers is not None and numbers.add(layers, run.layers):
            run.remember(numbers=numbers.texts)

    def _send_waiting(self, run: RunInfo, is_end: bool = False) -> dict[str, str]:
        """Send the epochs that wait; returns why MLflow takes some names not, by name.

        Those that do not arrive are given again; at the end they are kept, for another attempt.

        Raises:
            UndeliveredError: They have not arrived, and were given before the last one.
        """
        points, rows, was_away = self._points, self._waiting.rows, self._way.has_failed
        if points is None or not rows:
            return {}

        def send() -> dict[str, str]:
            if was_away:
                self._check(run)
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
        reason = addresses.without_credentials(reasons, self._way.uri) if refused else ""
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

    def _finish(self, error: BaseException | None, run: RunInfo) -> None:
        if not self._way.has_failed:
            self._decoration.finish(run)
        if error:
            self._ended = "FAILED"
        if self._owned and self._run_id:
            end(self._way, run, self._run_id, self._ended or "FINISHED", self._check_at_the_end)
            self._owned = False
        elif error and not self._run_id:
            run.remember(untold="FAILED")

    def _check_at_the_end(self, run: RunInfo) -> None:
        try:
            self._ask(lambda: self._check(run), run)
        except BackendLostError:
            raise
        except Exception as error:  # all that was asked for was answered
            logger.debug("MLflow cannot be asked whether it holds all", exc_info=error)

    def _check(self, run: RunInfo) -> None:
        if self._points and self._run_id:
            self._points.proof.check(self._way.client, self._run_id, run)

    def _ask(self, call: Callable[[], T], run: RunInfo, at_most: float = math.inf) -> T:
        return self._way.ask(call, min(run.time_left(), at_most))

    @cached_property
    def _way(self) -> Connection:
        """The way to the tracking URI that was in force when the run was opened."""
        return Connection(self._handle.uri)

    def _search(self, run: RunInfo) -> Search:
        from delve_mlflow.search import Search

        return Search(
            self._way.client,
            run,
            address=self._way.address,
            options=self._options,
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
            self._way.client.set_status(found.run.info.run_id, "RUNNING")
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
            address=self._way.address,
            experiment_id=found.run.info.experiment_id,
            run_id=self._run_id,
            owned=found.owned,
            prefix=found.keys.prefix,
            key_style=found.keys.style,
            page=page(self._way.address, found.run.info.experiment_id, self._run_id),
        )
        self._left_out.recall(run)
        if self._handle.run_id is None:  # the owner of a run that is named has told its own
            log_params(self._way.client, self._run_id, run.config)
        self._waiting = Waiting()
        self._keys = found.keys
        self._points = Points(
            self._way.client, self._run_id, found.keys, found.owned, found.last_point + 1
        )
        self._decoration.belong_to(self._way.uri, self._run_id, run, found.keys.prefix)

    def _say_once(self, message: str, *arguments: object) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning(message, *arguments)
