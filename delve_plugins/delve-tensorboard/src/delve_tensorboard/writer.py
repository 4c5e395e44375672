"""The TensorBoard writer: each epoch one record with all its numbers, in each of three runs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from delve.errors import ArgumentError, BackendLostError, RejectedError, WriterConfigurationError
from delve.journal import JOURNAL_NAME, now_in_ms
from delve.records import MODES, HeldEpoch, Metric, RunInfo
from delve_tensorboard.decoration import Decoration, Shown
from delve_tensorboard.places import check_folder, remember_page, size_of
from delve_tensorboard.remembered import Remembered
from delve_tensorboard.spectra import SPECTRUM, log_spectrum, name_lacking
from delve_tensorboard.tags import LayerTags

if TYPE_CHECKING:
    from delve_plot import Style

    from delve_tensorboard.folder import EventFolder
    from delve_tensorboard.rows import Rows

FOLDER = "tensorboard"

_USER = ""  # the run of the user's scalars, which is the folder itself
_STYLES = ("delve", "user")
_LARGEST = 2**28  # bytes of an event file, and so many times the journal's: figures are not there
_TIMES_JOURNAL = 1000


class TensorBoardWriter:
    """Writes event files for TensorBoard, under ``tensorboard`` in the run's folder.

    Layer metrics are in the runs ``train`` and ``eval`` there, tagged ``saturation/000.layer``;
    the number keeps the layers in forward order. The user's own scalars are in the folder itself,
    under their own names, with the layout of the Custom Scalars page and the hyperparameters.
    A row's step in TensorBoard is its training step, and its epoch where it has none.

    Args:
        savepath: The run's folder.
        figures: Whether to draw the saturation of all layers as a figure; it needs the plugin
            delve-plot. Drawing takes at most 5 % of the run: where epochs are short, some go
            without, but the last.
        log_spectrum: Whether the histograms of the statistic ``spectrum`` show the decimal
            logarithms of the eigenvalues, and not these: they differ by many powers of ten.
        style: ``delve`` draws them with Matplotlib's defaults, whatever your settings are;
            ``user`` with your settings (``matplotlib.rcParams``).

    Raises:
        ArgumentError: The style is neither.
    """

    def __init__(
        self,
        savepath: str | os.PathLike[str],
        figures: bool = False,
        style: Style = "delve",
        log_spectrum: bool = False,
    ) -> None:
        if style not in _STYLES:
            raise ArgumentError(
                f"style must be 'delve', or 'user' for your own Matplotlib settings, not {style!r}"
            )
        self.path = Path(savepath) / FOLDER
        self._log_spectrum = log_spectrum
        self._decoration = Decoration(_USER, style if figures else None)
        self._folders: dict[str, EventFolder] = {}
        self._tags = LayerTags()
        self._rows: Rows | None = None
        self._begins: dict[str, int] = {}  # a mode's run has a record of each row from that step on
        self._stats: list[str] = []
        self._first_step = 0
        self._scalars: dict[str, float] = {}
        self._metrics: dict[Metric, float] = {}
        self._spectra: dict[Metric, np.ndarray] = {}

    def start(self, run: RunInfo) -> None:
        """Begin anew; event files of others in the same folders stay."""
        self._prepare(run)
        self._tags, self._begins, self._stats = LayerTags(), {}, []
        for folder in self._folders.values():
            folder.remove_files()
        self._open(0, run)

    def resume_from_saved_state(self, initial_epoch: int, run: RunInfo) -> int:
        """Drop the epochs from ``initial_epoch`` on; returns the first that is not there whole."""
        first_void = run.initial_x if run.steps else initial_epoch
        self._prepare(run)
        remembered = self._recall(run)
        # Where a mode's run begins may be gone with a line of the journal: then no epoch is known
        # to be whole.
        modes = {metric.mode for metric in map(Metric.parse, run.metrics) if metric}
        knows_begins = remembered.knows_begins and modes <= self._begins.keys()
        whole = self._whole_steps()  # read in any case: what the journal does not know stays
        held = {epoch for epoch in run.epochs if run.x_of(epoch) in whole}
        lacking = run.first_lacking(held if knows_begins else ())
        fed_again = {run.x_of(epoch) for epoch in run.epochs if epoch >= lacking}
        first_step = min(fed_again, default=first_void)
        self._begins = {mode: begin for mode, begin in self._begins.items() if begin < first_step}
        if remembered.unusable or (run.origin and not run.state):
            run.remember(numbers=self._tags.numbers, begins=self._begins, stats=self._stats)
        elif self._begins != remembered.begins:
            run.remember(begins=self._begins)
        for folder in self._folders.values():
            folder.trim(lambda step: step < first_void and step not in fed_again)
        self._open(first_step, run)
        return lacking

    def add_scalar(self, name: str, value: float) -> None:
        """Stage a scalar of the user's.

        Raises:
            RejectedError: TensorBoard takes what has this name for something else.
        """
        from delve_tensorboard import summaries

        if summaries.is_reserved(name) or self._decoration.is_tag(name):
            raise RejectedError(name, "TensorBoard needs this tag for something else than numbers")
        self._scalars[name] = value

    def add_scalars(self, value_dict: dict[Metric, float]) -> None:
        """Stage the layer metrics."""
        self._metrics.update(value_dict)

    def add_array(self, name: Metric, value: np.ndarray) -> None:
        """Stage a spectrum, for its histogram; TensorBoard has no place for other arrays."""
        if name.stat == SPECTRUM:
            shown = log_spectrum(name, value) if self._log_spectrum else (name, value)
            self._spectra[shown[0]] = shown[1]

    def save(self, epoch: int, timestamp: int, run: RunInfo, step: int | None = None) -> None:
        """Write the epoch into each run; it counts once its numbers are whole in all of them."""
        at = epoch if step is None else step
        scalars, metrics, spectra = self._scalars, self._metrics, self._spectra
        self._forget_staged()
        rows = self._rows = self._rows or self._new_rows()
        if spectra or not rows.knows(metrics):  # it may be the first of its kind
            self._note({*metrics, *spectra}, at, run)
        records = rows.records(scalars, metrics, epoch, timestamp, step)
        for mode in MODES:
            if mode not in records and self._has_begun(mode, at):
                records[mode] = rows.empty(epoch, timestamp, step)
        self._write(records, at, run, may_wait=run.comes_again(epoch))
        shown = Shown(at, step, timestamp, metrics, spectra, self._tags, self._stats)
        is_new = epoch >= run.initial_epoch  # those fed again come all at once
        self._decoration.add(self._folders, shown, may_be_drawn=is_new)

    def close(self, error: BaseException | None, run: RunInfo) -> None:
        """End the run; it keeps no thread and no open file.

        Raises:
            BackendLostError: Epochs that waited cannot be written.
        """
        with self._waiting_named(run):
            for folder in self._folders.values():
                if folder.first_waiting is not None:
                    folder.write_waiting()
        folders, self._folders = self._folders, {}
        self._forget_staged()
        with ExitStack() as stack:
            for name, folder in folders.items():
                last = name == _USER and run.config
                stack.callback(folder.close, self._end_of_run(error) if last else b"")
            if folders:
                self._decoration.add_last(folders, run)

    def held_epochs(self, run: RunInfo) -> Iterable[HeldEpoch]:
        """The epochs of the event files, up to any damage, with their times."""
        if not self.path.is_dir():
            return ()
        from delve_tensorboard.folder import EventFolder
        from delve_tensorboard.stored import stored_epochs

        for path in (self.path, *(self.path / mode for mode in MODES)):
            check_folder(path)
        folders = {name: EventFolder(self.path / name) for name in (*MODES, _USER)}
        return stored_epochs(folders, _USER, Remembered.of(run).begins)

    def _prepare(self, run: RunInfo) -> None:
        """Import the backend, and forget what an attempt that failed has left here."""
        try:
            from delve_tensorboard.folder import EventFolder
        except ImportError as error:
            raise WriterConfigurationError(
                f"writer 'tensorboard': tensorboard cannot be imported ({error}); reinstall it"
            ) from error
        self._decoration.prepare(run)
        if self._log_spectrum:
            name_lacking(run)
        for path in (self.path, *(self.path / mode for mode in MODES)):
            check_folder(path)
        self._folders = {name: EventFolder(self.path / name) for name in (*MODES, _USER)}
        for folder in self._folders.values():
            folder.set_aside_unusable(
                _LARGEST + _TIMES_JOURNAL * size_of(run.savefile / JOURNAL_NAME)
            )
        self._rows = None
        self._forget_staged()

    def _recall(self, run: RunInfo) -> Remembered:
        """What the earlier part of the run has settled."""
        remembered = Remembered.of(run)
        self._begins, self._stats = dict(remembered.begins), list(remembered.stats)
        if remembered.numbers is not None:
            self._tags = LayerTags(remembered.numbers)
        else:
            tags = [self._folders[mode].tags() for mode in MODES]
            self._tags = LayerTags.read(set().union(*tags))
        return remembered

    def _whole_steps(self) -> set[int]:
        """The steps of the rows that no run lacks."""
        held = {name: folder.read() for name, folder in self._folders.items()}
        return {
            step
            for step in held[_USER]
            if all(step < begin or step in held[mode] for mode, begin in self._begins.items())
        }

    def _open(self, first_step: int, run: RunInfo) -> None:
        """Begin a file in each run that has a past; the rest wait until there is something."""
        self._first_step = first_step
        for mode in MODES:
            if self._folders[mode].files():
                self._folders[mode].open(first_step)
        self._folders[_USER].open(first_step, self._decoration.hyperparameters(run))
        remember_page(run)

    def _forget_staged(self) -> None:
        self._scalars, self._metrics, self._spectra = {}, {}, {}

    def _note(self, metrics: Collection[Metric], step: int, run: RunInfo) -> None:
        """Settle what must not change later: layers' numbers, and where a mode's run begins."""
        modes = {metric.mode for metric in metrics} - self._begins.keys()
        stats = [s for s in dict.fromkeys(m.stat for m in metrics) if s not in self._stats]
        has_new_layers = self._tags.add({metric.layer for metric in metrics}, run.layers)
        if not (modes or stats or has_new_layers):
            return
        self._begins |= dict.fromkeys(modes, step)
        self._stats += sorted(stats)
        run.remember(numbers=self._tags.numbers, begins=self._begins, stats=self._stats)

    def _has_begun(self, mode: str, step: int) -> bool:
        return step >= self._begins.get(mode, step + 1)

    def _write(self, records: Mapping[str, bytes], step: int, run: RunInfo, may_wait: bool) -> None:
        """Put a row into each run, or none of it.

        Raises:
            BackendLostError: Epochs that waited for this one could not be written either.
        """
        names = [name for name in (*MODES, _USER) if name in records]
        with self._waiting_named(run):
            staged = [self._stage(name, records[name], step, may_wait) for name in names]
        for folder in staged:
            folder.commit(step)

    @contextmanager
    def _waiting_named(self, run: RunInfo) -> Iterator[None]:
        """Where a disk refuses something, say which epochs that waited it has not got."""
        try:
            yield
        except OSError as error:
            waiting = [folder.first_waiting for folder in self._folders.values()]
            first = min((held for held in waiting if held is not None), default=None)
            if first is None:
                raise
            raise BackendLostError(f"{error}", run.epoch_at(first)) from error

    def _stage(self, name: str, record: bytes, step: int, may_wait: bool) -> EventFolder:
        folder = self._folders[name]
        if not folder.is_open:
            folder.open(self._first_step)
        folder.stage(step, record, may_wait)
        return folder

    def _new_rows(self) -> Rows:
        from delve_tensorboard.rows import Rows

        return Rows(_USER, self._tags)

    def _end_of_run(self, error: BaseException | None) -> bytes:
        from delve_tensorboard import summaries

        return summaries.end_of_run(failed=error is not None, timestamp=now_in_ms())
