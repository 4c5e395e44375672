"""What a tracker was told, checked: all of it before any file is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from delve.base.checks import check_count, check_share
from delve.capture import coverage
from delve.capture.activations import SamplingMethods
from delve.capture.beside import GATHERED, Beside
from delve.capture.fields import fields_of
from delve.capture.gathering import Gathering
from delve.capture.layer_types import Include
from delve.capture.layers import LayerFilter, Layers, Modules, Selection
from delve.capture.sample_limit import SampleLimit
from delve.capture.widths import device_of, plan_of
from delve.numerics import processes
from delve.stats.computation import Statistics
from delve.tracker.arguments import (
    check_config,
    check_device,
    check_mask,
    check_on_writer_error,
    check_overwrite,
    check_patience,
    check_stats,
)
from delve.tracker.endings import check_ends_well


@dataclass(frozen=True)
class Settings:
    """The arguments of a tracker, as the rest of it works with them.

    Attributes:
        selection: Which layers the user wants.
        layers: Those that there are, by name.
        gathering: How their outputs become samples, and how many.
        takes_masks: Whether masks that a model is called with count.
        statistics: What is computed of them.
        config: The hyperparameters, in plain values.
        images: Whether writers may write images.
        raise_errors: Whether a writer's failure is raised.
        patience: Seconds that a slow backend may hold the run up at its opening and its end.
        ends_well: Classes of exceptions that are a good end.
        overwrite: Whether a new run replaces an earlier one of the folder.
    """

    selection: Selection
    layers: Layers
    gathering: Gathering
    takes_masks: bool
    statistics: Statistics
    config: Mapping[str, Any]
    images: bool
    raise_errors: bool
    patience: float
    ends_well: tuple[type[BaseException], ...]
    overwrite: bool


def check_settings(
    modules: Modules,
    *,
    layer_filter: LayerFilter | None,
    ignore_layer_names: Sequence[str],
    include_conv: bool,
    track: str,
    include: Include,
    stats: Sequence[str],
    layerwise_sat: bool,
    shows_saturation: bool,
    input_shape: Sequence[int] | None,
    sat_threshold: float,
    conv_method: str,
    timeseries_method: str,
    interpolation_strategy: str | None,
    interpolation_downsampling: int,
    device: torch.device | str | None,
    log_interval: int,
    max_samples: int | str | None,
    memory_limit: float | str | None,
    exact: Sequence[str],
    sketch: Sequence[str],
    mask: str | None,
    config: Any,
    images: bool,
    on_writer_error: str,
    patience: float,
    ends_well: type[BaseException] | Iterable[type[BaseException]],
    overwrite: bool,
    group: processes.Group = None,
) -> Settings:
    """Check arguments of :class:`~delve.SaturationTracker`, which documents them.

    Raises:
        ArgumentError: One cannot be used.
        DelveError: A statistic of another distribution cannot be had.
    """
    check_count("log_interval", log_interval)
    sample_limit = SampleLimit.of(max_samples)
    check_on_writer_error(on_writer_error)
    check_patience(patience)
    good_ends = check_ends_well(ends_well)
    statistics = Statistics(
        check_stats(stats, layerwise_sat),
        check_share("sat_threshold", sat_threshold),
        shows_saturation,
    )
    beside = Beside(statistics.gathers) if statistics.gathers & GATHERED else None
    methods = SamplingMethods(
        conv_method, timeseries_method, interpolation_strategy, interpolation_downsampling
    )
    selection = Selection(modules, layer_filter, ignore_layer_names, include_conv, track, include)
    layers = selection.layers()
    where = check_device(device)
    plan = plan_of(layers, methods, memory_limit, exact, sketch)
    gathering = Gathering(
        methods,
        where,
        log_interval,
        sample_limit,
        statistics.needs_samples,
        plan,
        beside,
        {} if input_shape is None else fields_of(modules, layers, input_shape),
    )
    if processes.is_rank_zero(group):
        coverage.tell(selection, layers)
        plan.tell(where or device_of(layers))
    return Settings(
        selection=selection,
        layers=layers,
        gathering=gathering,
        takes_masks=check_mask(mask),
        statistics=statistics,
        config=check_config(config),
        images=images,
        raise_errors=on_writer_error == "raise",
        patience=patience,
        ends_well=good_ends,
        overwrite=check_overwrite(overwrite),
    )
