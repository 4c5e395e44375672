"""SaturationTracker: the one object that a user holds."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import nn

from delve.activations import SamplingMethods
from delve.arguments import (
    check_config,
    check_device,
    check_initial_epoch,
    check_on_writer_error,
    check_savefile,
    check_scalar,
    check_stats,
    check_threshold,
    refuse_unfinished,
)
from delve.delivery import Delivery
from delve.discovery import make_writers
from delve.journal import Journal, now_in_ms
from delve.layers import find_layers
from delve.lock import FolderLock
from delve.recorder import LayerRecorder
from delve.records import EpochRecord, Metric, RunInfo

logger = logging.getLogger(__name__)

LayerFilter = Callable[[dict[str, nn.Module]], dict[str, nn.Module]]


class SaturationTracker:
    """Records what the layers of a model do, epoch by epoch, in every backend named.

    Args:
        savefile: The run's folder; it is made if need be.
        save_to: The writers: a name, a writer object, or a list of both. See ``delve.writers``
            entry points for what is installed; ``csv``, ``mlflow``, ``print``.
        modules: The model to track.
        layer_filter: Takes the dictionary of all trackable layers by name and returns the ones to
            track. Default: all.
        writer_args: Constructor arguments for writers selected by name: flat, or nested under the
            writer's name.
        log_interval: Use every so many batches of each layer. Default 1: all.
        max_samples: Stop gathering after so many samples per layer, mode and epoch. Default: none.
        stats: What to compute: ``lsat`` saturation, ``idim`` intrinsic dimensionality; each also
            as ``lsat_train`` or ``lsat_eval`` for one mode alone.
        layerwise_sat: Whether each layer's values are saved.
        reset_covariance: Whether each epoch begins with no samples.
        average_sat: Whether to save the average saturation of all layers too.
        ignore_layer_names: Names of layers to leave out.
        include_conv: False tracks no convolutions.
        conv_method: How feature maps become samples: ``channelwise`` (each position is a sample
            of as many features as there are channels), ``mean``, ``max``, ``median`` (pooled over
            space), ``flatten``.
        timeseries_method: ``last_timestep``, or ``timestepwise`` (each step is a sample).
        sat_threshold: The share of the variance that counts as explained, in (0, 1].
        nosave: True writes no images.
        verbose: Whether to show each layer's saturation on the console, each epoch.
        device: Where covariances are gathered; None: where the activations are.
        initial_epoch: 0 begins a new run and overwrites the folder's earlier one; N > 0 resumes:
            every backend keeps exactly the epochs below N and goes on; ``"auto"`` resumes after
            the last recorded epoch.
        interpolation_strategy: Shrink large feature maps first, by this mode of
            ``torch.nn.functional.interpolate``.
        interpolation_downsampling: The size to shrink to.
        config: Hyperparameters, for the backends that have a place for them.
        on_writer_error: ``"warn"`` goes on without a writer that fails and feeds it again later;
            ``"raise"`` makes its first failure a :class:`~delve.errors.WriterFailedError`.

    Raises:
        ArgumentError: An argument cannot be used. No file was touched.
        DelveError: A writer cannot be had; see :mod:`delve.errors`.

    Example::

        with SaturationTracker("runs/a", save_to=["mlflow", "csv"], modules=model) as tracker:
            for epoch in range(epochs):
                train(model)
                tracker.add_scalar("accuracy", evaluate(model))
                tracker.add_saturations()
    """

    def __init__(
        self,
        savefile: str | os.PathLike[str],
        save_to: str | object | Sequence[str | object],
        modules: nn.Module,
        layer_filter: LayerFilter | None = None,
        writer_args: Mapping[str, Any] | None = None,
        log_interval: int = 1,
        max_samples: int | None = None,
        stats: Sequence[str] = ("lsat",),
        layerwise_sat: bool = True,
        reset_covariance: bool = True,
        average_sat: bool = False,
        ignore_layer_names: Sequence[str] = (),
        include_conv: bool = True,
        conv_method: str = "channelwise",
        timeseries_method: str = "last_timestep",
        sat_threshold: float = 0.99,
        nosave: bool = False,
        verbose: bool = False,
        device: torch.device | str | None = None,
        initial_epoch: int | Literal["auto"] = 0,
        interpolation_strategy: str | None = None,
        interpolation_downsampling: int = 32,
        *,
        config: Mapping[str, Any] | None = None,
        on_writer_error: Literal["warn", "raise"] = "warn",
    ) -> None:
        refuse_unfinished(
            layer_filter=layer_filter is not None,
            log_interval=log_interval != 1,
            max_samples=max_samples is not None,
            layerwise_sat=not layerwise_sat,
            reset_covariance=not reset_covariance,
            average_sat=average_sat,
            ignore_layer_names=bool(ignore_layer_names),
            include_conv=not include_conv,
            verbose=verbose,
            interpolation_strategy=interpolation_strategy is not None,
            interpolation_downsampling=interpolation_downsampling != 32,
        )
        folder = check_savefile(savefile)
        self._threshold = check_threshold(sat_threshold)
        self._stats = check_stats(stats)
        check_on_writer_error(on_writer_error)
        methods = SamplingMethods(conv_method, timeseries_method)
        layers = find_layers(modules)
        device = check_device(device)
        config = check_config(config)
        first = check_initial_epoch(initial_epoch, folder)
        writers = make_writers(save_to, folder, writer_args)

        self._epoch = first
        self._scalars: dict[str, float] = {}
        self._metrics: dict[Metric, float] = {}
        self._closed = False
        with contextlib.ExitStack() as undo:
            lock = FolderLock(folder)
            undo.callback(lock.release)
            self._journal = Journal.open(folder, first, tuple(layers), config)
            undo.callback(self._journal.close)
            run = RunInfo(
                savefile=folder,
                run_id=self._journal.run_id,
                created=self._journal.created,
                layers=self._journal.layers,
                config=config or self._journal.config,
                initial_epoch=first,
                images=not nosave,
                epochs=tuple(self._journal.epochs),
                metrics=self._journal.metrics,
            )
            self._delivery = Delivery(writers, self._journal, run, on_writer_error == "raise")
            undo.push(lambda _kind, error, _traceback: self._delivery.close(error))
            self._delivery.open()
            order = self._journal.layers if self._journal.epochs else ()
            self._recorder = LayerRecorder(layers, methods, device, order)
            undo.callback(self._recorder.remove_hooks)
            # In the order of close(): hooks, writers, journal, lock.
            self._undo = undo.pop_all()

    @property
    def epoch(self) -> int:
        """The current epoch: the index of the row that the next :meth:`save` records."""
        return self._epoch

    @property
    def savefile(self) -> Path:
        """The run's folder."""
        return self._journal.path.parent

    def add_scalar(self, name: str, value: float) -> None:
        """Log a number of your own for the current epoch; the same name again replaces it.

        Args:
            name: Any text but ``epoch`` and the names of layer metrics.
            value: A number, or a tensor or array of one element.

        Raises:
            ArgumentError: The name is taken, or the value is not a number.
        """
        self._check_open()
        number = check_scalar(name, value)
        self._scalars[name] = number
        self._delivery.add_scalar(name, number, self._epoch, now_in_ms())

    def add_saturations(self, save: bool = True) -> None:
        """Compute the selected statistics of all layers over the samples since the last call.

        Args:
            save: Whether that ends the epoch. False leaves it to :meth:`save`.
        """
        self._check_open()
        for (mode, layer), spectrum in self._recorder.spectra().items():
            for selected in self._stats:
                if mode in selected.modes:
                    value = selected.stat.compute(spectrum, self._threshold)
                    self._metrics[Metric(mode, selected.stat.name, layer)] = value
        self._recorder.reset()
        if save:
            self.save()

    def save(self) -> None:
        """End the epoch: write it to the journal, then to every writer."""
        self._check_open()
        record = EpochRecord(self._epoch, now_in_ms(), self._scalars, self._metrics)
        self._epoch += 1
        self._scalars, self._metrics = {}, {}
        layers = self._recorder.layers
        self._journal.record(record, layers)
        self._delivery.save(record, {}, layers)

    def close(self, error: BaseException | None = None) -> None:
        """End the run; a second call does nothing.

        What was logged since the last :meth:`save` is saved as one more epoch, but dropped after
        an exception.

        Args:
            error: The exception that ended the training, if one did.
        """
        if self._closed:
            return
        self._check_not_feeding()
        try:
            self._finish_epoch(error)
        finally:
            self._closed = True
            self._undo.__exit__(type(error) if error else None, error, None)

    def _finish_epoch(self, error: BaseException | None) -> None:
        staged = [*self._scalars, *self._metrics]
        if staged and error is None:
            self.save()
        elif staged:
            logger.warning(
                "epoch %d was not complete when the run ended by %s, so it is not recorded; "
                "dropped: %s",
                self._epoch,
                type(error).__name__,
                ", ".join(staged),
            )

    def _check_not_feeding(self) -> None:
        if self._delivery.is_feeding:
            raise RuntimeError("a writer must not call the tracker that is feeding it")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(error)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"epoch {self._epoch}"
        return (
            f"SaturationTracker({str(self.savefile)!r}, {state}, "
            f"{len(self._recorder.layers)} layers)"
        )

    def _check_open(self) -> None:
        self._check_not_feeding()
        if self._closed:
            raise RuntimeError(
                f"the tracker of {self.savefile} is closed; make a new one with "
                f"initial_epoch={self._epoch} to go on"
            )
