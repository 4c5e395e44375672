"""SaturationTracker: the one object that a user holds."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import nn

from delve.base import signals
from delve.base.checks import check_count
from delve.base.log import get_logger
from delve.capture.hooks import Gathering, LayerRecorder
from delve.capture.layers import LayerFilter, Layers, Modules, find_layers, select_layers
from delve.capture.samples import SamplingMethods
from delve.delivery.attempts import PATIENCE
from delve.delivery.discovery import make_writers
from delve.delivery.run import Run, SilentRun
from delve.errors import ArgumentError
from delve.numerics import processes as distributed
from delve.records import MODES, LayerKey, StagedEpoch
from delve.stats.computation import Results, Statistics
from delve.tracker import console
from delve.tracker.arguments import (
    check_config,
    check_device,
    check_initial_epoch,
    check_on_writer_error,
    check_patience,
    check_savefile,
    check_scalar,
    check_scalar_name,
    check_stats,
    check_threshold,
)
from delve.tracker.endings import check_ends_well, what_went_wrong

logger = get_logger(__name__)


class SaturationTracker:
    """Records what the layers of a model do, epoch by epoch, in every backend named.

    Under ``torch.distributed`` each process makes one, and a mistake in one is raised in all. Its
    methods are for one thread at a time.

    A tracker that nobody closes is closed when Python ends. The run then counts as failed if an
    exception was not caught, but as complete after ``sys.exit``, whatever its status: Python keeps
    no trace of it. Within ``with``, a status other than 0 counts as a failure.

    Args:
        savefile: The run's folder; it is made if need be.
        save_to: The writers: a name, a writer object, or a list of both. See ``delve.writers``
            entry points for what is installed; ``csv``, ``mlflow``, ``print``.
        modules: The model to track, or a list or dictionary of modules.
        layer_filter: Takes the dictionary of all trackable layers by name and returns the ones to
            track. Default: all.
        writer_args: Constructor arguments for writers selected by name: flat, or nested under the
            writer's name.
        log_interval: Use every so many calls of each layer: batches, where a forward pass calls it
            once. Default 1: all.
        max_samples: Stop gathering after so many samples per layer, mode and epoch. Default: none.
        stats: What to compute, each also as ``lsat_train`` or ``lsat_eval`` for one mode alone:
            ``lsat`` saturation, ``idim`` intrinsic dimensionality, ``det`` determinant, ``trc``
            trace and ``dtrc`` diagonal trace of the covariance, ``erank`` effective rank, ``pr``
            participation ratio, ``srank`` stable rank, ``alpha`` power-law exponent, ``n`` number
            of samples, ``spectrum`` the eigenvalues; and the arrays ``cov`` covariance matrix and
            ``embed`` samples on the two leading eigenvectors.
        layerwise_sat: Whether each layer's saturation is saved.
        reset_covariance: Whether each epoch begins with no samples.
        average_sat: Whether to save the average saturation of all layers too.
        ignore_layer_names: Names of layers to leave out.
        include_conv: False tracks no convolutions.
        conv_method: How feature maps become samples: ``channelwise`` (each position is a sample
            of as many features as there are channels), ``mean``, ``max``, ``median`` (pooled over
            space), ``flatten``.
        timeseries_method: ``last_timestep``, or ``timestepwise`` (each step is a sample). A
            recurrent or attention layer's ``batch_first`` is honoured; a linear layer does not
            tell, so its series count as (batch x time x features). In a model that puts time
            first, as :class:`torch.nn.TransformerEncoderLayer` does by default, take
            ``timestepwise``, which is right in both layouts, or ``batch_first=True``.
        sat_threshold: The share of the variance that counts as explained, in (0, 1].
        nosave: True writes no images.
        verbose: Whether to show each layer's saturation on the console, each epoch.
        device: Where covariances are gathered; None: where the activations are.
        initial_epoch: 0 begins a new run and overwrites the folder's earlier one; N > 0 resumes:
            every backend keeps exactly the epochs below N and goes on; ``"auto"`` resumes after
            the last recorded epoch. What went void in a backend while it was away is cut too.
        interpolation_strategy: Shrink large feature maps first, by this mode of
            ``torch.nn.functional.interpolate``.
        interpolation_downsampling: The size to shrink to.
        config: Hyperparameters, for the backends that have a place for them: a mapping, a
            dataclass, a namespace, or an object of OmegaConf or pydantic. It is resolved at once,
            into plain values that are the same in all backends.
        on_writer_error: ``"warn"`` goes on without a writer that fails and feeds it again later;
            ``"raise"`` makes its first failure a :class:`~delve.errors.WriterFailedError`.
        patience: Seconds that a slow backend may hold the run up when it is opened, and when it is
            fed at the end what it lacks. In between, an attempt takes at most 10 s, and all of them
            at most 5 % of a long run: a writer that needs more falls behind.
        ends_well: Classes of exceptions that are a good end, such as ``KeyboardInterrupt``: one of
            them ends the run as finished, and what was logged before is kept as one more epoch.
            Optuna's ``TrialPruned`` is always one.

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
        modules: Modules,
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
        config: Any = None,
        on_writer_error: Literal["warn", "raise"] = "warn",
        patience: float = PATIENCE,
        ends_well: type[BaseException] | Iterable[type[BaseException]] = (),
    ) -> None:
        self._averages = {f"average-{mode}-sat": mode for mode in MODES if average_sat}
        self._verbose = verbose
        self._forget = reset_covariance
        self._run: Run | SilentRun = SilentRun()
        self._reducer = distributed.CovarianceReducer()
        self._staged = StagedEpoch()
        self._saturations: dict[LayerKey, float] = {}
        self._closed = False
        self._postponed: list[Callable[[], None]] = []

        def check_arguments() -> tuple[Statistics, Gathering, Layers, dict[str, Any]]:
            check_count("log_interval", log_interval)
            if max_samples is not None:
                check_count("max_samples", max_samples)
            check_on_writer_error(on_writer_error)
            check_patience(patience)
            self._ends_well = check_ends_well(ends_well)
            statistics = Statistics(
                check_stats(stats, layerwise_sat), check_threshold(sat_threshold)
            )
            gathering = Gathering(
                SamplingMethods(
                    conv_method,
                    timeseries_method,
                    interpolation_strategy,
                    interpolation_downsampling,
                ),
                check_device(device),
                log_interval,
                max_samples,
                statistics.needs_samples,
            )
            layers = select_layers(modules, layer_filter, ignore_layer_names, include_conv)
            return statistics, gathering, layers, check_config(config)

        self._statistics, gathering, layers, hyperparameters = distributed.together(check_arguments)

        def open_run() -> tuple[Path, int, tuple[str, ...]]:
            folder = check_savefile(savefile)
            is_first = distributed.is_first()
            writers = make_writers(save_to, folder, writer_args) if is_first else []
            first = check_initial_epoch(initial_epoch, folder, writers)
            if is_first:
                with signals.held():
                    self._run = Run(
                        folder,
                        first,
                        tuple(layers),
                        hyperparameters,
                        writers,
                        images=not nosave,
                        raise_errors=on_writer_error == "raise",
                        arrays=self._statistics.arrays,
                        array_groups=self._statistics.array_groups,
                        patience=patience,
                    )
            return folder, first, self._run.order

        try:
            self._savefile, self._epoch, order = distributed.agree(open_run)
            self._recorder = LayerRecorder(layers, gathering, order)
        except BaseException as error:  # an interrupt, or a mistake in another process
            self._run.close(error)
            raise
        self._process = os.getpid()
        atexit.register(self._close_at_exit)  # before what the writers' backends do at exit

    @property
    def epoch(self) -> int:
        """The current epoch: the index of the row that the next :meth:`save` records."""
        return self._epoch

    @property
    def savefile(self) -> Path:
        """The run's folder."""
        return self._savefile

    def add_scalar(self, name: str, value: float) -> None:
        """Log a number of your own for the current epoch; the same name again replaces it.

        Args:
            name: Any text but ``epoch``, the names of layer metrics and, with ``average_sat``,
                those of the averages.
            value: A number, or a tensor or array of one element.

        Raises:
            ArgumentError: The name is taken, or the value is not a number.
        """
        check_scalar_name(name, self._averages)
        number = check_scalar(name, value)
        if self._postpones(f"add_scalar({name!r})", lambda: self.add_scalar(name, number)):
            return
        with self._whole():
            self._check_open()
            self._log(name, number)

    def add_saturations(self, save: bool = True) -> None:
        """Compute the selected statistics of all layers over the samples since the last call.

        Under ``torch.distributed`` it is collective: the samples of all processes count, and an
        error in one is raised in all.

        Args:
            save: Whether that ends the epoch. False leaves it to :meth:`save`.
        """
        self._check_open()
        # A layer that saw nothing new here may have elsewhere: then its earlier samples count.
        seen = distributed.union(self._recorder.fresh())
        covariances = self._reducer.reduce(self._recorder.held(seen))

        def record() -> None:
            results = None
            if distributed.is_first():
                results = self._statistics.compute(covariances)
            with self._whole():
                self._check_open()  # a handler may have closed it meanwhile
                if results is not None:
                    self._stage(results)
                self._recorder.mark_used(self._forget, seen)
                if save:
                    self.save()

        distributed.together(record)

    def save(self) -> None:
        """End the epoch: write it to the journal, then to every writer.

        Handlers of signals, Ctrl-C's among them, come in before or after; while a writer keeps it
        waiting, after some 2 seconds. The epoch is recorded then, and the writer is fed it again.
        """
        if self._postpones("save()", self.save):
            return
        with self._whole():
            self._check_open()
            self._save()

    def saturation(self) -> None:
        """Draw the current saturation of each layer on the console, as bars.

        That is over this process's samples since the last :meth:`add_saturations`, or of that call
        where there were none since.
        """
        fresh = self._recorder.fresh()
        if fresh:
            self._saturations = self._statistics.saturations(fresh)
        console.show_saturations(self._saturations)

    def stop(self) -> None:
        """Record no forward passes until :meth:`resume`."""
        self._recorder.is_recording = False

    def resume(self) -> None:
        """Record forward passes again."""
        self._recorder.is_recording = True

    def is_recording(self) -> bool:
        """Whether forward passes are recorded: not while stopped, nor once closed."""
        return self._recorder.is_recording and not self._closed

    def get_layers_recursive(self, modules: Modules) -> Layers:
        """All trackable layers by name; a name that delve 0.1 has."""
        return find_layers(modules)

    def get_layer_from_submodule(
        self, submodule: nn.Module, layers: Layers, name_prefix: str = ""
    ) -> Layers:
        """Add the trackable layers of one module to ``layers``; a name that delve 0.1 has."""
        layers.update(find_layers({name_prefix: submodule} if name_prefix else submodule))
        return layers

    def register_forward_hooks(self, layer: nn.Module, stats: Sequence[str] = ()) -> None:
        """Track one more layer, named by its type and number; a name that delve 0.1 has.

        Args:
            layer: A layer of a type that is tracked.
            stats: Without effect: the statistics are those of the tracker.
        """
        self._check_open()
        del stats
        for found in find_layers(layer).values():
            taken = self._recorder.layers
            names = (f"{type(found).__name__}-{n}" for n in itertools.count(len(taken)))
            self._recorder.track(next(name for name in names if name not in taken), found)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint taken inside an epoch needs to go on exactly there.

        Made of tensors and plain values, so ``torch.load(..., weights_only=True)`` reads it back.
        Under ``torch.distributed`` each process has samples of its own, so each must keep its own
        state.
        """
        return {
            "epoch": self._epoch,
            "staged": self._staged.state_dict(),
            "recorder": self._recorder.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`, in a tracker that was made with its epoch.

        Under ``torch.distributed`` each process loads the state that it kept itself: one state for
        all would count its samples once a process.

        Example::

            state = checkpoint["tracker"]
            tracker = SaturationTracker(..., initial_epoch=state["epoch"])
            tracker.load_state_dict(state)

        Raises:
            ArgumentError: The state is of another epoch than this tracker's current one.
        """
        self._check_open()
        if state["epoch"] != self._epoch:
            raise ArgumentError(
                f"the state is of epoch {state['epoch']}, but the tracker is at epoch "
                f"{self._epoch}; make it with initial_epoch={state['epoch']}"
            )
        with self._whole():
            self._recorder.load_state_dict(state["recorder"])
            staged = StagedEpoch.from_state_dict(state["staged"])
            for name, number in staged.scalars.items():
                self._log(name, number)
            self._staged.metrics |= staged.metrics
            self._staged.arrays |= staged.arrays
            self._staged.few_samples |= staged.few_samples

    def close(self, error: BaseException | None = None) -> None:
        """End the run; a second call does nothing.

        What was logged since the last :meth:`save` is saved as one more epoch, but dropped after
        an exception that is no good end.

        A handler of a signal may call it at any time. Where it came in while a writer was being
        fed, the run is closed as soon as that call has ended, before an exception of the handler's,
        such as ``SystemExit``, goes on.

        Args:
            error: The exception that ended the training, if one did.
        """
        if self._closed or self._postpones("close()", lambda: self.close(error)):
            return
        error = what_went_wrong(error, self._ends_well)
        if self._is_elsewhere:  # the run is the parent's, which goes on with it
            self._closed = True
            self._recorder.remove_hooks()
            return
        self._check_not_feeding()
        with signals.held():
            try:
                self._finish_epoch(error)
            finally:
                self._closed = True
                atexit.unregister(self._close_at_exit)
                self._recorder.remove_hooks()
                self._run.close(error)

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Change state without a handler's coming in; what one has asked for is done at the end."""
        with signals.held():
            try:
                yield
            finally:
                while self._postponed and not self._run.is_feeding:
                    self._postponed.pop(0)()

    def _postpones(self, what: str, call: Callable[[], None]) -> bool:
        """Whether a handler of a signal has come in where a writer is fed, and has to wait."""
        if not (signals.is_handling() and self._run.is_feeding):
            return False
        logger.warning(
            "%s: %s was called by the handler of a signal while a writer is being fed; it is done "
            "when that call has ended",
            self.savefile,
            what,
        )
        self._postponed.append(call)
        return True

    def _save(self) -> None:
        epoch, staged = self._epoch, self._staged
        self._epoch, self._staged = epoch + 1, StagedEpoch()
        self._run.save(epoch, staged, self._recorder.layers)

    def _log(self, name: str, number: float) -> None:
        self._staged.scalars[name] = number
        self._run.add_scalar(name, number, self._epoch)

    def _stage(self, results: Results) -> None:
        self._staged.metrics |= results.scalars
        self._staged.arrays |= results.arrays
        self._staged.few_samples |= results.few_samples
        self._saturations = results.saturations
        for name, mode in self._averages.items():
            average = results.average_saturation(mode)
            if average is not None:
                self._log(name, average)
        if self._verbose:
            console.show_saturations(results.saturations, self._epoch)

    def _finish_epoch(self, error: BaseException | None) -> None:
        staged = self._staged.names
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

    def _close_at_exit(self) -> None:
        """Nobody has called :meth:`close`: the backends still get all that they can."""
        # An interactive session goes on after the errors that it shows. Python sets `last_value`
        # where it shows an error, so SystemExit of any status is not there.
        is_interactive = hasattr(sys, "ps1")
        self.close(None if is_interactive else getattr(sys, "last_value", None))

    @property
    def _is_elsewhere(self) -> bool:
        """Whether this is a copy in a forked child, which shares the run's files."""
        return os.getpid() != self._process

    def _check_not_feeding(self) -> None:
        if self._run.is_feeding:
            raise RuntimeError("a writer must not call the tracker that is feeding it")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended_well = isinstance(error, SystemExit) and error.code in (None, 0)
        self.close(None if ended_well else error)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"epoch {self._epoch}"
        layers = f"{len(self._recorder.layers)} layers"
        facts = [repr(str(self.savefile)), state, layers, " + ".join(self._run.writers)]
        return f"SaturationTracker({', '.join(filter(None, facts))})"

    def _check_open(self) -> None:
        self._check_not_feeding()
        if self._is_elsewhere:
            raise RuntimeError(
                f"the tracker of {self.savefile} belongs to the process that made it; pass the "
                "values there, or make a tracker with another savefile here"
            )
        if self._closed:
            raise RuntimeError(
                f"the tracker of {self.savefile} is closed; make a new one with "
                f"initial_epoch={self._epoch} to go on"
            )
