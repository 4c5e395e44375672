"""What TensorBoard shows beside the numbers: histograms, layout, figures, hyperparameters.

Numbers come first and never wait for these. Each of these may fail on its own: it is named once,
and costs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from delve.base import get_logger
from delve.errors import WriterConfigurationError
from delve.journal import run_notes
from delve.records import MODES, Metric, RunInfo
from delve.writers import how_to_install
from delve_tensorboard.tags import LayerTags

if TYPE_CHECKING:
    from delve_plot import Style

    from delve_tensorboard.figures import Figures
    from delve_tensorboard.folder import EventFolder

NOTES = "delve/notes"  # the tag of the sentences on the network

_DRAWN = "saturation"
_LONGEST_REASON = 500  # characters

T = TypeVar("T")

logger = get_logger(__name__)


@dataclass(frozen=True)
class Shown:
    """An epoch whose numbers are in the files.

    Attributes:
        epoch: The epoch, or the training step if the row has one: its step in TensorBoard.
        step: The training step, if it has one.
        timestamp: When it was saved, in milliseconds since 1970.
        metrics: Its layer metrics.
        spectra: Its spectra.
        tags: What layers are called.
        stats: The statistics that the run has.
    """

    epoch: int
    step: int | None
    timestamp: int
    metrics: Mapping[Metric, float]
    spectra: Mapping[Metric, np.ndarray]
    tags: LayerTags
    stats: Sequence[str]


class Decoration:
    """Adds to the event files what is no number.

    Args:
        user: The name of the run that has layout and figures.
        style: Whose Matplotlib settings figures are drawn in; None for none.
    """

    def __init__(self, user: str, style: Style | None) -> None:
        self._user = user
        self._style = style
        self._figures: Figures | None = None
        self._laid_out: list[str] | None = None  # the statistics that the layout has
        self._drawn_at = 0  # the time of the epoch that is drawn last
        self._last: tuple[int, int] | None = None  # the place and time of the last epoch
        self._named: set[str] = set()

    def prepare(self, run: RunInfo) -> None:
        """Begin a process of the run.

        Raises:
            WriterConfigurationError: There are to be figures, and delve-plot is not there.
        """
        self._laid_out, self._figures, self._last = None, None, None
        if self._style is not None and run.images:
            make = partial(_make_figures, run, self._style)
            self._figures = self._attempt("figures", make)

    def is_tag(self, name: str) -> bool:
        """Whether figures or notes have this tag, which a number must not have then."""
        return name == NOTES or (self._figures is not None and name == self._figures.tag)

    def hyperparameters(self, run: RunInfo) -> bytes:
        """The record of the run's configuration; nothing where it has none."""
        from delve_tensorboard import summaries

        if not run.config:
            return b""
        trial = f"{run.savefile.resolve().name}-{run.run_id[:8]}"
        record = self._attempt(
            "hyperparameters", lambda: summaries.hyperparameters(run.config, trial, run.created)
        )
        return record or b""

    def add(self, folders: Mapping[str, EventFolder], shown: Shown, may_be_drawn: bool) -> None:
        """Add what belongs to an epoch.

        Args:
            folders: Where to.
            shown: The epoch.
            may_be_drawn: Whether it may have a figure though others follow.
        """
        from delve_tensorboard import summaries

        self._last = shown.epoch, shown.timestamp
        values: dict[str, list[Any]] = {name: [] for name in (*MODES, self._user)}
        for metric, spectrum in shown.spectra.items():
            tag = shown.tags.tag(metric)
            make = partial(summaries.histogram, tag, spectrum)
            histogram = self._attempt("histograms", make)
            values[metric.mode] += [] if histogram is None else [histogram]
        is_laid_out = self._laid_out == list(shown.stats)
        if shown.metrics and not is_laid_out:
            layout = self._attempt("layout", lambda: summaries.layout(shown.stats))
            values[self._user] += [] if layout is None else [layout]
        for name, shown_there in values.items():
            self._write(folders[name], shown.epoch, shown.timestamp, shown_there)
        if shown.metrics:
            self._laid_out = list(shown.stats)
        if not self._figures:
            return
        if any(metric.stat == _DRAWN for metric in shown.metrics):
            self._drawn_at = shown.timestamp
        if not may_be_drawn:
            layers = shown.tags.in_order()
            self._figures.leave_out(shown.metrics, layers, shown.epoch, shown.step)
        else:
            figure = self._attempt("figures", lambda: self._draw(shown))
            self._write(folders[self._user], shown.epoch, shown.timestamp, figure)

    def add_last(self, folders: Mapping[str, EventFolder], run: RunInfo) -> None:
        """Add the figure of the last epoch, if there was no time for it, and the run's notes."""
        if self._last is not None:
            notes = self._attempt("notes", lambda: _notes(run))
            self._write(folders[self._user], *self._last, notes)
        last = self._attempt("figures", self._draw_last)
        if last is not None:
            self._write(folders[self._user], last[0], self._drawn_at, last[1])

    def _draw(self, shown: Shown) -> list[Any]:
        assert self._figures is not None
        return self._figures.of_epoch(shown.metrics, shown.tags.in_order(), shown.epoch, shown.step)

    def _draw_last(self) -> tuple[int, list[Any]] | None:
        return self._figures.of_last_epoch() if self._figures else None

    def _write(
        self, folder: EventFolder, epoch: int, timestamp: int, values: list[Any] | None
    ) -> None:
        from delve_tensorboard import summaries

        if values and folder.is_open:
            record = self._attempt(
                "records of histograms, layout and figures",
                lambda: summaries.record(values, epoch, timestamp),
            )
            if record:
                self._attempt("files of these", lambda: folder.add(epoch, record))

    def _attempt(self, what: str, action: Callable[[], T]) -> T | None:
        """What the action makes; None where it fails, which is said once of each kind."""
        try:
            return action()
        except WriterConfigurationError:
            raise
        except Exception as error:
            if what not in self._named:
                self._named.add(what)
                lines = str(error).strip().splitlines()[:1]
                logger.warning(
                    "writer 'tensorboard' leaves out %s that fail (%s); the numbers are there, and "
                    "this is said once",
                    what,
                    ": ".join([type(error).__name__, *lines])[:_LONGEST_REASON],
                )
            logger.debug("writer 'tensorboard': the traceback", exc_info=error)
        return None


def _notes(run: RunInfo) -> list[Any]:
    """What is wrong with the network, as far as the journal tells."""
    from delve_tensorboard import summaries

    notes = run_notes(run.savefile)
    if not notes and not run.state.get("noted"):
        return []
    run.remember(noted=bool(notes))
    told = "\n".join(f"- {note}" for note in notes) or "nothing any more"
    return [summaries.text(NOTES, told)]


def _make_figures(run: RunInfo, style: Style) -> Figures:
    try:
        from delve_tensorboard.figures import TAG, Figures
    except ImportError as error:
        raise WriterConfigurationError(
            f"writer 'tensorboard': figures=True needs the plugin delve-plot ({error}). "
            f"{how_to_install('plot')}"
        ) from error
    # One of TensorBoard's servers fails on a tag that is a number here and a figure there.
    return Figures(style, f"{TAG} (picture)" if TAG in run.metrics else TAG)
