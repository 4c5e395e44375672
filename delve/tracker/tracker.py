"""SaturationTracker: the one object that a user holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch

from delve.capture.hooks import LayerHooks
from delve.capture.layer_types import Include
from delve.capture.layers import LayerFilter, Modules
from delve.capture.replaced import LayerWatch
from delve.capture.widths import agree
from delve.delivery.attempts import PATIENCE
from delve.numerics import processes
from delve.numerics.layouts import Layouts
from delve.numerics.reduction import CovarianceReducer
from delve.numerics.waiting import meet
from delve.records import MODES, LayerKey
from delve.tracker.opening import open_run
from delve.tracker.rows import Rows
from delve.tracker.settings import check_settings
from delve.tracker.steps import StepAxis, Turns


class SaturationTracker(Rows):
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
        max_samples: Stop gathering after so many samples per layer, mode and epoch; ``"8d"``: 8
            times a layer's features, spread over the epoch. Default: no limit.
        stats: What to compute; ``delve stats`` lists all with ranges and sources. ``"health"`` is
            what each run can afford, ``"all"`` is every number; each of both and of these also as
            ``lsat_train`` or ``lsat_eval`` for one mode alone: ``lsat`` saturation, ``idim``
            intrinsic dimensionality, ``det`` determinant, ``trc`` trace and ``dtrc`` diagonal trace
            of the covariance, ``erank`` effective rank, ``pr`` participation ratio, ``srank``
            stable rank, ``alpha`` power-law exponent, ``n`` number of samples, ``spectrum`` the
            eigenvalues; of the correlation matrix ``csat`` saturation, ``cidim`` dimensionality
            and ``cerank`` effective rank; ``top`` what the leading direction and feature have of
            the variance, ``mshare`` what the mean has of the mean square, ``dead`` features that
            never vary, ``dormant`` features that never exceed 0, ``redo`` features that hardly do;
            ``evratio`` variance in evaluation over training, ``ceiling`` highest possible
            saturation, ``field`` what an input sees of the image (with ``input_shape``),
            ``lsat_rel`` saturation over the ceiling, ``lsat2`` saturation extrapolated to many
            samples, ``error`` what half of the samples change; ``rankme`` and ``srank_kumar``
            ranks of samples as they are, ``token_var`` variance within sequences, ``masked``
            padded positions that were left out; and the arrays ``cov`` covariance matrix and
            ``embed`` samples on the two leading eigenvectors.
        layerwise_sat: Whether each layer's saturation is saved.
        reset_covariance: Whether each epoch begins with no samples.
        average_sat: Whether to save the average saturation of all layers too.
        ignore_layer_names: Names of layers to leave out.
        include_conv: False tracks no convolutions.
        conv_method: How feature maps become samples: ``channelwise`` (each position is a sample
            of as many features as there are channels), ``mean``, ``max``, ``median`` (pooled over
            space), ``flatten``.
        timeseries_method: How series become samples: ``last_timestep``, ``first`` (the class token
            of a BERT or a ViT, whose last step is the last patch), ``mean`` over the steps,
            ``timestepwise`` (each step is a sample). Padding counts unless a mask tells it. A
            recurrent or attention layer's ``batch_first`` is honoured; a linear layer does not
            tell, so its series count as (batch x time x features). In a model that puts time
            first, as :class:`torch.nn.TransformerEncoderLayer` does by default, take
            ``timestepwise``, which is right in both layouts, or ``batch_first=True``.
        sat_threshold: The share of the variance that counts as explained, in (0, 1].
        nosave: True writes no images.
        verbose: Whether to show each layer's saturation on the console, each epoch.
        device: Where covariances are gathered; None: where the activations are.
        initial_epoch: 0 begins a new run, and moves one that the folder holds aside, into its
            ``earlier/1`` and so on; N > 0 resumes: every backend keeps exactly the epochs below N
            and goes on; ``"auto"`` resumes after the last recorded epoch. What went void in a
            backend while it was away is cut too.
        overwrite: Whether a new run replaces an earlier one of the folder in its local backends, in
            the place of moving it aside.
        initial_step: Resumes by a training step in the place of ``initial_epoch``, for a run whose
            rows carry steps: every backend keeps the rows of steps up to this one, later ones are
            void. Where nothing was recorded up to there, the run begins anew.
        every: Record only every so many calls of :meth:`add_saturations`; the others return at
            once. It counts on from the ``state_dict``, or from ``initial_step``, if each call is
            one step.
        gather: Which forward passes a row is made of, where ``every`` is more than 1: ``window``
            takes all since the last row, ``last`` those between the call that records and the call
            before it, so that the others cost next to nothing.
        interpolation_strategy: Shrink large feature maps first, by this mode of
            ``torch.nn.functional.interpolate``.
        interpolation_downsampling: The size to shrink to.
        mask: ``"auto"``: a call of the model, or of a part of it, with a mask of its padding leaves
            that out of the samples. Taken are an ``attention_mask`` of 0 and 1, (batch x time),
            beside ids or embeddings of tokens (by keyword, by position, or in a dictionary such as
            a tokenizer's; its last columns where earlier steps are cached), the
            ``decoder_attention_mask`` for a decoder, and ``torch.nn``'s ``src_key_padding_mask``
            and ``tgt_key_padding_mask``. Not taken are masks of other dimensions, and those of
            floats that are added to scores. None takes none. See :meth:`mask` for what a mask
            does, and to give one where no call of a model that was given as ``modules`` does.
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
        track: ``"default"`` takes layers of registered types, experts that are fused into one
            module, and what looks like a linear layer; ``"all"`` each module with a weight of two
            dimensions too.
        include: What else to track: types, as ``[nn.LayerNorm, nn.GELU]``, and functions that tell
            of a module whether to. Of what has no weight, an output of four dimensions or more is
            taken for feature maps.
        input_shape: The shape of one image without the batch, ``(3, 32, 32)``: then the statistic
            ``field`` says what share of the image each convolution's input sees, and ``delve show``
            names the border layer; see :func:`delve.receptive_field`.
        process_group: The processes that train this model together, where these are not all; the
            first of them records. Default: all.
        mesh: The ``DeviceMesh`` of these processes, where the model is parallel without DTensors:
            outputs of processes along a dimension called ``tp``, ``tensor``, ``model``, ``cp``,
            ``context``, ``sp`` or ``sequence`` count once where they are the same, and are left
            out where they are not.
        memory_limit: What the covariances of all layers may take, in both modes: bytes, as
            ``"2GiB"``, or a share of the memory that is free when the first pass comes. Default: a
            quarter, but 3 GiB at most. Layers that do not fit, the widest first, are gathered by
            sketch: their saturation is exact where its bounds agree; otherwise it is the middle
            between ``saturation-low`` and ``saturation-high``, which stand beside it and always
            hold the exact value. The bounds are wide in the first epoch, and where eigenvalues
            fall slowly.
        exact: Names of layers that are gathered exactly, whatever that takes.
        sketch: Names of layers that are gathered by sketch, however much memory there is.

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
        max_samples: int | str | None = None,
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
        mask: Literal["auto"] | None = "auto",
        config: Any = None,
        on_writer_error: Literal["warn", "raise"] = "warn",
        patience: float = PATIENCE,
        ends_well: type[BaseException] | Iterable[type[BaseException]] = (),
        track: Literal["default", "all"] = "default",
        include: Include = (),
        overwrite: bool = False,
        initial_step: int | None = None,
        every: int = 1,
        gather: Literal["window", "last"] = "window",
        input_shape: Sequence[int] | None = None,
        process_group: Any = None,
        mesh: Any = None,
        memory_limit: float | str | None = None,
        exact: Sequence[str] = (),
        sketch: Sequence[str] = (),
    ) -> None:
        group = processes.check_group(process_group, mesh)
        meet("SaturationTracker()", group)
        turns = processes.raise_in_all_ranks(lambda: Turns(every, gather), group)
        settings = processes.raise_in_all_ranks(
            lambda: check_settings(
                modules,
                layer_filter=layer_filter,
                ignore_layer_names=ignore_layer_names,
                include_conv=include_conv,
                track=track,
                include=include,
                stats=stats,
                layerwise_sat=layerwise_sat,
                shows_saturation=verbose or average_sat,
                input_shape=input_shape,
                sat_threshold=sat_threshold,
                conv_method=conv_method,
                timeseries_method=timeseries_method,
                interpolation_strategy=interpolation_strategy,
                interpolation_downsampling=interpolation_downsampling,
                device=device,
                log_interval=log_interval,
                max_samples=max_samples,
                memory_limit=memory_limit,
                exact=exact,
                sketch=sketch,
                mask=mask,
                config=config,
                images=not nosave,
                on_writer_error=on_writer_error,
                patience=patience,
                overwrite=overwrite,
                ends_well=ends_well,
                group=group,
            ),
            group,
        )
        agree(settings.gathering.plan, settings.layers, settings.gathering.device, group)
        averages = {f"average-{mode}-sat": mode for mode in MODES if average_sat}
        with contextlib.ExitStack() as undo:  # an interrupt, or a mistake in another process
            run, place = open_run(
                savefile, save_to, writer_args, initial_epoch, initial_step, settings, undo, group
            )
            hooks = LayerHooks(
                settings.layers,
                settings.gathering,
                place.order,
                settings.selection.roots(),
                settings.takes_masks,
                Layouts(mesh),
            )
            steps = StepAxis(place.axis, place.step)
            super().__init__(
                run, place.folder, place.epoch, steps, hooks, settings.ends_well, averages
            )
            undo.pop_all()
        self._turns = turns
        self._go_on(place.passed)
        self._layers = LayerWatch(settings.selection, settings.layers, hooks)
        self._statistics = settings.statistics
        self._gathering = settings.gathering
        self._averages = averages
        self._verbose = verbose
        self._forget = reset_covariance
        self._group = group
        self._reducer = CovarianceReducer(group)
        self._writer = 0
        self._is_settled = processes.has_group()
        self._saturations: dict[LayerKey, float] = {}

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"epoch {self._epoch}"
        count = len(self._hooks.layers)
        layers = f"{count} layer{'s' * (count != 1)}"
        facts = [repr(str(self.savefile)), state, layers, " + ".join(self._run.writers)]
        return f"SaturationTracker({', '.join(filter(None, facts))})"
