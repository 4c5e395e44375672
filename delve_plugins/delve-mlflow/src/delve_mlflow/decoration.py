"""What MLflow's page shows of a run beside numbers: the table of layers, notes, figures.

All of it is made from the journal, so that a run that was resumed or replayed ends with the same.
Numbers come first and never wait for these; one that fails costs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from delve.base import get_logger
from delve.errors import WriterConfigurationError
from delve.files import Pace
from delve.journal import StoredRun, read_run, run_notes
from delve.records import RunInfo
from delve.writers import how_to_install
from delve_mlflow.connection import Connection
from delve_mlflow.keys import clean_key

if TYPE_CHECKING:  # it imports MLflow, which waits until there is a run
    from delve_mlflow.artifacts import Artifacts

SHARE = 0.05  # of the run's time, for figures
PAUSE = 5.0  # seconds between figures, at least

_TEXTS_TIME = 3.0  # seconds that a file takes at most: a store may be away
_FIGURES_TIME = 4.0
_RESERVE = 2.5  # seconds that are left for the numbers

logger = get_logger(__name__)


class Decoration:
    """Keeps what there is beside a run's numbers.

    Args:
        wants_figures: Whether the user wants some.
    """

    def __init__(self, wants_figures: bool) -> None:
        self._wants_figures = wants_figures
        self._pace = Pace(SHARE, PAUSE)
        self._connection: Connection | None = None
        self._artifacts: Artifacts | None = None
        self._named: set[str] = set()

    def check(self, run: RunInfo) -> None:
        """See that figures can be drawn.

        Raises:
            WriterConfigurationError: They are wanted, and delve-plot is not there.
        """
        if self._has_figures(run):
            try:
                from delve_mlflow.pictures import pictures  # noqa: F401
            except ImportError as error:
                raise WriterConfigurationError(
                    f"writer 'mlflow': figures=True needs the plugin delve-plot ({error}). "
                    f"{how_to_install('plot')}"
                ) from error

    def belong_to(self, uri: str, mlflow_run_id: str, run: RunInfo, prefix: str) -> None:
        """Have everything go to this run in MLflow from now on."""
        from delve_mlflow.artifacts import Artifacts

        self._connection = Connection(uri, lane="files")
        self._artifacts = Artifacts(
            self._connection.client, mlflow_run_id, clean_key(run.run_id), prefix
        )

    def refresh(self, run: RunInfo) -> None:
        """Draw anew what there is, if it is time."""
        if self._has_figures(run) and self._pace.is_due():
            with self._pace.measured():
                self._attempt("figures", lambda: self._send_figures(read_run(run.savefile), run))

    def finish(self, run: RunInfo) -> None:
        """Leave everything as it is at the end of the run."""
        steps = {
            "table": lambda: self._send_table(read_run(run.savefile), run),
            "notes": lambda: self._send_notes(run),
        }
        if self._has_figures(run):
            steps["figures"] = lambda: self._send_figures(read_run(run.savefile), run, True)
        elif run.images:
            steps["figures of before"] = lambda: self._renew_figures(run)
        # A store that hangs is waited for once.
        all(self._attempt(what, action) for what, action in steps.items())
        self._artifacts = None

    def _has_figures(self, run: RunInfo) -> bool:
        return self._wants_figures and run.images

    def _send_figures(self, stored: StoredRun, run: RunInfo, is_last: bool = False) -> None:
        from delve_mlflow.pictures import pictures

        # A heatmap of one epoch shows nothing more.
        files = pictures(stored, with_heatmaps=is_last or len(stored.epochs) > 1)
        self._send(lambda artifacts: artifacts.put(files), run, _FIGURES_TIME)

    def _renew_figures(self, run: RunInfo) -> None:
        """Nobody asks for figures now, but an earlier part of the run left some."""
        from delve_mlflow.artifacts import SATURATION

        held: list[bool] = []
        self._send(lambda artifacts: held.append(artifacts.holds(SATURATION)), run, _TEXTS_TIME)
        if any(held):
            self._send_figures(read_run(run.savefile), run, True)

    def _send_table(self, stored: StoredRun, run: RunInfo) -> None:
        from delve_mlflow.table import layer_table

        if columns := layer_table(stored):
            self._send(lambda artifacts: artifacts.put_table(columns), run, _TEXTS_TIME)

    def _send_notes(self, run: RunInfo) -> None:
        from delve_mlflow.artifacts import NOTES

        notes = run_notes(run.savefile)
        told = "\n".join(f"- {note}" for note in notes) or "nothing any more"

        def send(artifacts: Artifacts) -> None:
            if notes or artifacts.holds(NOTES):
                artifacts.put({NOTES: f"{told}\n".encode()})

        self._send(send, run, _TEXTS_TIME)

    def _send(self, send: Callable[[Artifacts], None], run: RunInfo, at_most: float) -> None:
        artifacts, connection = self._artifacts, self._connection
        if artifacts and connection:
            seconds = min(run.time_left() - _RESERVE, at_most)
            connection.ask(lambda: send(artifacts), seconds)

    def _attempt(self, what: str, action: Callable[[], None]) -> bool:
        """Do something that may fail; of what the user asked for, that is said once.

        Returns:
            Whether there was an answer.
        """
        if self._artifacts is None:
            return False
        try:
            action()
        except Exception as error:
            if what == "figures" and what not in self._named:
                self._named.add(what)
                logger.warning(
                    "MLflow gets no %s (%s: %s); its numbers are there, and this is said once",
                    what,
                    type(error).__name__,
                    next(iter(str(error).strip().splitlines()), ""),
                )
            logger.debug("MLflow gets no %s", what, exc_info=error)
            return not isinstance(error, TimeoutError)
        return True
