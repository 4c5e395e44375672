"""SaturationTracker: the one object that a user holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch

from delve.capture.hooks import LayerHooks
from delve.capture.layers import LayerFilter, Modules
from delve.capture.replaced import LayerWatch
from delve.delivery.attempts import PATIENCE
from delve.numerics import processes
from delve.numerics.layouts import Layouts
from delve.numerics.reduction import CovarianceReducer
from delve.numerics.waiting import meet
from delve.numerics.weight_marks import marks_of
from delve.records import MODES, LayerKey
from delve.stats.computation import Results
from delve.tracker import console
from delve.tracker.checkpoints import Checkpoints
from delve.tracker.opening import open_run
from delve.tracker.settings import check_settings


class SaturationTracker(Checkpoints):
    """Records what the layers of a model do, epoch by epoch, in every backend named.

    Under ``torch.distributed`` each process makes one, and a mistake in one is raised in all; the
    first process records. How a layer is spread over processes is known where its weights or its
    outputs are DTensors. Its methods are for one thread at a time.

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
        process_group: The processes that train this model together, where these are not all; the
            first of them records. Default: all.
        mesh: The ``DeviceMesh`` of these processes, where the model is parallel without DTensors:
            outputs of processes along a dimension called ``tp``, ``tensor``, ``model``, ``cp``,
            ``context``, ``sp`` or ``sequence`` count once where they are the same, and are left
            out where they are not.

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
        process_group: Any = None,
        mesh: Any = None,
    ) -> None:
        group = processes.check_group(process_group, mesh)
        meet("SaturationTracker()", group)
        settings = processes.raise_in_all_ranks(
            lambda: check_settings(
                modules,
                layer_filter=layer_filter,
                ignore_layer_names=ignore_layer_names,
                include_conv=include_conv,
                stats=stats,
                layerwise_sat=layerwise_sat,
                sat_threshold=sat_threshold,
                conv_method=conv_method,
                timeseries_method=timeseries_method,
                interpolation_strategy=interpolation_strategy,
                interpolation_downsampling=interpolation_downsampling,
                device=device,
                log_interval=log_interval,
                max_samples=max_samples,
                config=config,
                images=not nosave,
                on_writer_error=on_writer_error,
                patience=patience,
                ends_well=ends_well,
            ),
            group,
        )
        averages = {f"average-{mode}-sat": mode for mode in MODES if average_sat}
        with contextlib.ExitStack() as undo:  # an interrupt, or a mistake in another process
            run, place = open_run(
                savefile, save_to, writer_args, initial_epoch, settings, undo, group
            )
            hooks = LayerHooks(
                settings.layers,
                settings.gathering,
                place.order,
                settings.selection.roots(),
                Layouts(mesh),
            )
            super().__init__(run, place.folder, place.epoch, hooks, settings.ends_well, averages)
            undo.pop_all()
        self._layers = LayerWatch(settings.selection, settings.layers, hooks)
        self._statistics = settings.statistics
        self._averages = averages
        self._verbose = verbose
        self._forget = reset_covariance
        self._group = group
        self._reducer = CovarianceReducer(group)
        self._writer = 0
        self._is_settled = processes.has_group()
        self._saturations: dict[LayerKey, float] = {}

    def add_saturations(self, save: bool = True) -> None:
        """Compute the selected statistics of all layers over the samples since the last call.

        Under ``torch.distributed`` it is collective: the samples of all processes count, and an
        error in one is raised in all.

        Args:
            save: Whether that ends the epoch. False leaves it to :meth:`save`.
        """
        self._check_open()
        meet("add_saturations()", self._group)
        self._settle()
        # A layer that saw nothing new here may have elsewhere: then its earlier samples count.
        seen = self._seen_anywhere()
        covariances = self._reducer.reduce(
            self._hooks.held(seen),
            self._hooks.layouts,
            marks_of(self._hooks.modules),
            self._writer,
        )

        def record() -> None:
            results = None
            if self._is_writing:
                results = self._statistics.compute(covariances)
            with self._whole():
                self._check_open()  # a handler may have closed it meanwhile
                if results is not None:
                    self._stage(results)
                self._hooks.mark_used(self._forget, seen)
                self._layers.look_again()
                if save:
                    self.save()

        processes.raise_in_all_ranks(record, self._group)

    def saturation(self) -> None:
        """Draw the current saturation of each layer on the console, as bars.

        That is over this process's samples since the last :meth:`add_saturations`, or of that call
        where there were none since.
        """
        fresh = self._hooks.fresh()
        if fresh:
            self._saturations = self._statistics.saturations(fresh)
        console.show_saturations(self._saturations)

    def _seen_anywhere(self) -> list[LayerKey]:
        """What saw new samples in any process, by mode and in the order of layers."""
        own = self._hooks.modules
        order = [name for name in self._hooks.layers if name in own]
        names = processes.union(order, self._group)
        self._hooks.know_of(name for name in names if name not in own)
        fresh = set(processes.union(self._hooks.fresh(), self._group))
        return [(mode, name) for mode in MODES for name in names if (mode, name) in fresh]

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

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"epoch {self._epoch}"
        layers = f"{len(self._hooks.layers)} layers"
        facts = [repr(str(self.savefile)), state, layers, " + ".join(self._run.writers)]
        return f"SaturationTracker({', '.join(filter(None, facts))})"
