"""The Weights & Biases writer: one run, one committed log an epoch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delve.base import get_logger
from delve.errors import BackendLostError, RejectedError
from delve.records import Metric, RunInfo
from delve.writers import LeftOut
from delve_wandb.names import refusal
from delve_wandb.needs import check_wandb, make_figures
from delve_wandb.options import Options, tags_of

if TYPE_CHECKING:
    import numpy as np
    from wandb import Run

    from delve_wandb.figures import Figures
    from delve_wandb.histograms import Histograms
    from delve_wandb.logs import Row
    from delve_wandb.sessions import Session

_SPECTRUM = "spectrum"

logger = get_logger(__name__)


class WandbWriter:
    """Records into Weights & Biases: keys are the metrics' names and ``epoch``.

    Where rows have a training step there is a key ``step`` too, and charts show by it.

    An active ``wandb.run`` is used and never finished; the keys are ``delve/epoch`` and
    ``delve/step`` there, and its own steps are never moved. Without one a run is started, with its
    local files in ``<savepath>/wandb``, and finished at the end. What is None here is left to
    W&B's settings and environment (WANDB_PROJECT, WANDB_MODE and so on).

    Args:
        savepath: The run's folder.
        project: The W&B project.
        entity: The user or team that it belongs to.
        name: The run's name.
        group: The group of runs that it belongs to.
        tags: The run's tags.
        mode: ``online``, ``offline`` or ``disabled``.
        figures: Whether to log a figure of all layers' saturation too; it needs the plugin
            delve-plot. Drawing takes at most 5 % of the run: where epochs are short, some go
            without, and the last epoch's is in the run's summary then.
        log_spectrum: Whether to log, for each layer, a histogram of the decimal logarithms of its
            eigenvalues; it needs the statistic ``spectrum``.
        prefix: What Delve's keys begin with, such as ``fold0/``: it tells the epochs of several
            trackers apart that log into one run.
        commit: In a run that you opened yourself, send each epoch at once, as a row of its own. It
            closes your open row and moves your step on: W&B drops what you log under a lower
            ``step=``. By default an epoch joins the row that you log next.
        run: A run that you have opened, such as that of a trainer's logger, where it is not the
            active one. It gets what is Delve's alone, no configuration, and is never finished.
        leave_out: Names of scalars that a run of yours gets from you or your trainer already.
        init_timeout: How long the server may take to open the run, in seconds. None: your W&B
            setting if you made one, else 5.

    Raises:
        ArgumentError: An argument cannot be used.
    """

    def __init__(
        self,
        savepath: str | os.PathLike[str],
        project: str | None = None,
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: Sequence[str] | None = None,
        mode: str | None = None,
        figures: bool = False,
        init_timeout: float | None = None,
        prefix: str = "",
        commit: bool = False,
        run: Run | None = None,
        leave_out: Collection[str] = (),
        log_spectrum: bool = False,
    ) -> None:
        self._left_out = LeftOut(leave_out)
        self._options = Options(
            Path(savepath),
            project,
            entity,
            name,
            group,
            tags_of(tags),
            mode,
            init_timeout,
            prefix,
            commit,
            run,
        )
        self._wants_figures = figures
        self._wants_histograms = log_spectrum
        self._histograms: Histograms | None = None
        if log_spectrum:  # one that stores no arrays has no such hook, so that Delve can say so
            self.add_array = self._add_array
        self._figures: Figures | None = None
        self._session: Session | None = None
        self._prepared = False
        self._disabled = False
        self._row: dict[str, float] = {}
        self._has_named_failure = False

    def start(self, run: RunInfo) -> None:
        """Use the user's active run, or start one."""
        self._prepare(run)
        from delve_wandb import identity, sessions

        if self._session is None and not self._disabled:
            self._session = sessions.start(self._options, run)
            identity.remember_page(self._session.log.run, run)

    def resume_from_saved_state(self, run: RunInfo) -> int | None:
        """Go on in the same W&B run, cut back to the epochs below where W&B lets us."""
        self._part(exit_code=0)
        self._prepare(run)
        from delve_wandb import identity, resuming

        if self._disabled:
            return None
        self._session, first_lacking = resuming.resume(self._options, run)
        identity.remember_page(self._session.log.run, run)
        return first_lacking

    def add_scalar(self, name: str, value: float) -> None:
        """Stage a scalar of the user's.

        Raises:
            RejectedError: W&B stores nothing under this name.
        """
        if self._session and self._session.is_users and name in self._left_out:
            return
        self._refuse([name])
        self._row[name] = value

    def add_scalars(self, value_dict: dict[Metric, float]) -> None:
        """Stage the layer metrics.

        Raises:
            RejectedError: W&B stores nothing under some of their names.
        """
        self._refuse(value_dict)
        self._row.update(value_dict.items())

    def _add_array(self, name: Metric, value: np.ndarray) -> None:
        """Stage a spectrum, for its histogram."""
        if self._histograms and name.stat == _SPECTRUM:
            self._histograms.stage(name, value)

    def save(self, epoch: int, timestamp: int, run: RunInfo, step: int | None = None) -> None:
        """Send the epoch; one that W&B holds already has the same values and is passed over."""
        session = self._session
        if self._disabled or (session and session.log.holds(epoch)):
            self._row = {}
            self._take_histograms()
            return
        if session is None:
            raise RuntimeError("no W&B run is open")
        self._left_out.remember(run)
        row = replace(self._row_of(epoch, timestamp, session, run, step), step=step)
        try:
            session.add(epoch, row, run)
        except Exception as error:
            self._let_go_if_lost(error)
            raise
        session.look_after_superseded(run)

    def close(self, error: BaseException | None, run: RunInfo) -> None:
        """Finish a run that Delve started, as failed after an exception."""
        session = self._session
        if session:
            self._leave_summary(session, run)
        self._part(exit_code=1 if error else 0)
        if session:
            session.retire_superseded(run)

    def _leave_summary(self, session: Session, run: RunInfo) -> None:
        from delve_wandb import closing

        closing.leave_notes(session.log.run, run, self._options.prefix)
        last = self._figures.of_last_epoch() if self._figures else {}
        closing.leave_figures(session.log.run, self._named(last, session))

    def _named(self, figures: Mapping[str, Any], session: Session) -> dict[str, Any]:
        """Figures by their keys in the run."""
        of_delve = f"{self._options.prefix}{'delve/' * session.is_users}"
        return {of_delve + key: figure for key, figure in figures.items()}

    def _refuse(self, names: Iterable[str]) -> None:
        reasons = {name: refusal(self._options.prefix + name) for name in names}
        refused = {name: reason for name, reason in reasons.items() if reason}
        if refused:
            raise RejectedError(refused, "; ".join(sorted(set(refused.values()))))

    def _row_of(
        self, epoch: int, timestamp: int, session: Session, run: RunInfo, step: int | None
    ) -> Row:
        """The staged values under their keys, with what there is beside numbers."""
        from delve_wandb.logs import Row, SteppedLog

        staged, self._row = self._row, {}
        is_stepped = isinstance(session.log, SteppedLog)
        prefix = self._options.prefix
        numbers = {prefix + name: value for name, value in staged.items()}
        if is_stepped:  # a row of the user's keeps its own time
            numbers["_timestamp"] = timestamp / 1000
        beside = {prefix + name: shown for name, shown in self._take_histograms().items()}
        if self._figures and epoch < run.initial_epoch:
            self._figures.leave_out(staged, run.layers, epoch, step)
        elif self._figures:
            drawn = self._figures.of_epoch(staged, run.layers, epoch, step)
            beside |= self._named(drawn, session)
        return Row(numbers, beside, lambda error: self._name_failure(error, epoch))

    def _take_histograms(self) -> dict[str, Any]:
        return dict(self._histograms.take()) if self._histograms else {}

    def _name_failure(self, error: Exception, epoch: int) -> None:
        """Say once why what was made beside the numbers is not sent."""
        if not self._has_named_failure:
            self._has_named_failure = True
            logger.warning(
                "W&B gets no figure or histogram of epoch %d (%s: %s); its numbers are there",
                epoch,
                type(error).__name__,
                error,
            )
        logger.debug("its traceback", exc_info=error)

    def _prepare(self, run: RunInfo) -> None:
        check_wandb()
        from delve_wandb import identity, opening, service

        self._prepared = True
        service.start()
        self._row = {}
        identity.pass_over_unusable(run)
        self._left_out.recall(run)
        was_disabled, self._disabled = self._disabled, opening.is_disabled(self._options)
        if self._disabled and not was_disabled:
            logger.warning("W&B is disabled, so that Delve sends nothing to it")
        if self._wants_histograms:
            from delve_wandb.histograms import Histograms

            self._histograms = Histograms()
            self._histograms.name_lacking(run)
        if self._wants_figures and run.images and not self._figures:
            self._figures = make_figures()

    def _let_go_if_lost(self, error: Exception) -> None:
        """Have a run of ours opened anew once W&B's service has died.

        Raises:
            BackendLostError: It has.
        """
        from delve_wandb import service

        if isinstance(error, BackendLostError):  # finished by others
            self._part(exit_code=0)
            return
        if self._session and self._session.ours and service.has_died(error):
            with contextlib.suppress(Exception):  # nothing reaches W&B any more
                self._part(exit_code=1)
            raise BackendLostError(
                f"W&B's service, the process wandb-core, has died ({type(error).__name__})"
            ) from error

    def _part(self, exit_code: int) -> None:
        if not self._prepared:
            return
        from delve_wandb import service

        session, self._session, self._prepared = self._session, None, False
        try:
            if session:
                session.finish(exit_code)
        finally:
            service.stop()
