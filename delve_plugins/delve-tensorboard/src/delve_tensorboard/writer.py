"""The TensorBoard writer: each epoch one record with all its values, in each of three runs."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from delve.discovery import how_to_install
from delve.errors import WriterConfigurationError
from delve.journal import now_in_ms
from delve.records import MODES, Metric, RunInfo
from delve_tensorboard.tags import LayerTags

if TYPE_CHECKING:
    from delve_tensorboard.figures import Pictures
    from delve_tensorboard.folder import EventFolder

FOLDER = "tensorboard"

_USER = ""  # the run of the user's scalars, which is the folder itself
_SPECTRUM = "spectrum"


class TensorBoardWriter:
    """Writes event files for TensorBoard, under ``tensorboard`` in the run's folder.

    Layer metrics are in the runs ``train`` and ``eval`` there, tagged ``saturation/000.layer``;
    the number keeps the layers in forward order. The user's own scalars are in the folder itself,
    under their own names, with the layout of the Custom Scalars page and the hyperparameters.

    Args:
        savepath: The run's folder.
        figures: Whether to draw the saturation of all layers as an image; it needs the plugin
            delve-plot. Drawing takes at most 5 % of the run: where epochs are short, some go
            without.
    """

    def __init__(self, savepath: str | os.PathLike[str], figures: bool = False) -> None:
        self.path = Path(savepath) / FOLDER
        self._figures = figures
        self._pictures: Pictures | None = None
        self._folders: dict[str, EventFolder] = {}
        self._tags = LayerTags()
        self._begins: dict[str, int] = {}  # a mode's run has a record of each epoch from there on
        self._stats: list[str] = []
        self._first_epoch = 0
        self._has_layout = False
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
        self._prepare(run)
        self._recall(run)
        lacking = run.first_lacking(self._whole_epochs())
        self._begins = {mode: begin for mode, begin in self._begins.items() if begin < lacking}
        if self._begins != run.state.get("begins", {}):
            run.remember(begins=self._begins)
        fed_again = {epoch for epoch in run.epochs if epoch >= lacking}
        for folder in self._folders.values():
            folder.trim(lambda epoch: epoch < initial_epoch and epoch not in fed_again)
        self._open(lacking, run)
        return lacking

    def add_scalar(self, name: str, value: float) -> None:
        """Stage a scalar of the user's."""
        self._scalars[name] = value

    def add_scalars(self, value_dict: dict[Metric, float]) -> None:
        """Stage the layer metrics."""
        self._metrics.update(value_dict)

    def add_array(self, name: Metric, value: np.ndarray) -> None:
        """Stage a spectrum, for its histogram; TensorBoard has no place for other arrays."""
        if name.stat == _SPECTRUM:
            self._spectra[name] = value

    def save(self, epoch: int, timestamp: int, run: RunInfo) -> None:
        """Write the epoch into each run; it counts once it is whole in all of them."""
        scalars, metrics, spectra = self._scalars, self._metrics, self._spectra
        self._forget_staged()
        self._note({*metrics, *spectra}, epoch, run)
        values = self._layer_values(metrics, spectra)
        values[_USER] = self._user_values(scalars, metrics, epoch, run)
        staged = [
            self._stage(name, values[name], epoch, timestamp)
            for name in (*MODES, _USER)
            if values[name] or self._has_begun(name, epoch)
        ]
        for folder in staged:
            folder.commit(epoch)
        self._has_layout = self._has_layout or bool(metrics)

    def close(self, error: BaseException | None, run: RunInfo) -> None:
        """End the run; it keeps no thread and no open file."""
        folders, self._folders = self._folders, {}
        self._forget_staged()
        with ExitStack() as stack:
            for name, folder in folders.items():
                last = name == _USER and run.config
                stack.callback(folder.close, self._end_of_run(error) if last else b"")

    def _prepare(self, run: RunInfo) -> None:
        """Import the backend, and forget what an attempt that failed has left here."""
        try:
            from delve_tensorboard.folder import EventFolder
        except ImportError as error:
            raise WriterConfigurationError(
                f"writer 'tensorboard': tensorboard cannot be imported ({error}); reinstall it"
            ) from error
        if self._figures and run.images and not self._pictures:
            self._pictures = _make_pictures()
        for path in (self.path, *(self.path / mode for mode in MODES)):
            if path.is_symlink():
                raise WriterConfigurationError(
                    f"writer 'tensorboard': {path} is a link, and Delve changes no files behind "
                    "links; replace it by a folder, or name another savefile"
                )
        self._folders = {name: EventFolder(self.path / name) for name in (*MODES, _USER)}
        self._forget_staged()

    def _recall(self, run: RunInfo) -> None:
        """What the earlier part of the run has settled."""
        self._begins = dict(run.state.get("begins", {}))
        self._stats = list(run.state.get("stats", []))
        if "numbers" in run.state:
            self._tags = LayerTags(run.state["numbers"])
        else:
            tags = [self._folders[mode].tags() for mode in MODES]
            self._tags = LayerTags.read(set().union(*tags))

    def _whole_epochs(self) -> set[int]:
        """The epochs that no run lacks."""
        held = {name: folder.read() for name, folder in self._folders.items()}
        return {
            epoch
            for epoch in held[_USER]
            if all(epoch < begin or epoch in held[mode] for mode, begin in self._begins.items())
        }

    def _open(self, first_epoch: int, run: RunInfo) -> None:
        """Begin a file in each run that has a past; the rest wait until there is something."""
        from delve_tensorboard import summaries

        self._first_epoch, self._has_layout = first_epoch, False
        for mode in MODES:
            if self._folders[mode].files():
                self._folders[mode].open(first_epoch)
        trial = f"{run.savefile.resolve().name}-{run.run_id[:8]}"
        self._folders[_USER].open(
            first_epoch,
            summaries.hyperparameters(run.config, trial, run.created) if run.config else b"",
        )

    def _forget_staged(self) -> None:
        self._scalars, self._metrics, self._spectra = {}, {}, {}

    def _note(self, metrics: Collection[Metric], epoch: int, run: RunInfo) -> None:
        """Settle what must not change later: layers' numbers, and where a mode's run begins."""
        modes = {metric.mode for metric in metrics} - self._begins.keys()
        stats = [s for s in dict.fromkeys(m.stat for m in metrics) if s not in self._stats]
        has_new_layers = self._tags.add({metric.layer for metric in metrics}, run.layers)
        if not (modes or stats or has_new_layers):
            return
        self._begins |= dict.fromkeys(modes, epoch)
        self._stats += sorted(stats)
        self._has_layout = self._has_layout and not stats
        run.remember(numbers=self._tags.numbers, begins=self._begins, stats=self._stats)

    def _layer_values(
        self, metrics: Mapping[Metric, float], spectra: Mapping[Metric, np.ndarray]
    ) -> dict[str, list[Any]]:
        """What each mode's run shows of the epoch."""
        from delve_tensorboard import summaries

        values: dict[str, list[Any]] = {mode: [] for mode in MODES}
        for metric, value in metrics.items():
            values[metric.mode].append(summaries.scalar(self._tags.tag(metric), value))
        for metric, spectrum in spectra.items():
            values[metric.mode].append(summaries.histogram(self._tags.tag(metric), spectrum))
        return values

    def _user_values(
        self,
        scalars: Mapping[str, float],
        metrics: Mapping[Metric, float],
        epoch: int,
        run: RunInfo,
    ) -> list[Any]:
        """What the folder's own run shows of the epoch: scalars, layout, picture."""
        from delve_tensorboard import summaries

        values = [summaries.scalar(name, value) for name, value in scalars.items()]
        if metrics and not self._has_layout:
            values.append(summaries.layout(self._stats))
        if self._pictures and epoch >= run.initial_epoch:  # those fed again come all at once
            values += self._pictures.of_epoch(metrics, self._tags.in_order(), epoch)
        return values

    def _has_begun(self, name: str, epoch: int) -> bool:
        return name == _USER or epoch >= self._begins.get(name, epoch + 1)

    def _stage(self, name: str, values: list[Any], epoch: int, timestamp: int) -> EventFolder:
        from delve_tensorboard import summaries

        folder = self._folders[name]
        if not folder.is_open:
            folder.open(self._first_epoch)
        folder.stage(epoch, summaries.record(values, epoch, timestamp))
        return folder

    def _end_of_run(self, error: BaseException | None) -> bytes:
        from delve_tensorboard import summaries

        return summaries.end_of_run(failed=error is not None, timestamp=now_in_ms())


def _make_pictures() -> Pictures:
    try:
        from delve_tensorboard.figures import Pictures
    except ImportError as error:
        raise WriterConfigurationError(
            f"writer 'tensorboard': figures=True needs the plugin delve-plot ({error}). "
            f"{how_to_install('plot')}"
        ) from error
    return Pictures()
