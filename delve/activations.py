"""A layer's output as samples: a matrix of (samples x features), by the family of the layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from torch import Tensor, nn

from delve.errors import ArgumentError


def _pool(reduce: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda maps: reduce(maps.flatten(2))


# (batch x channels x space...) to (samples x features)
CONV_METHODS: dict[str, Callable[[Tensor], Tensor]] = {
    "channelwise": lambda maps: maps.movedim(1, -1).reshape(-1, maps.shape[1]),
    "mean": _pool(lambda flat: flat.mean(dim=2)),
    "max": _pool(lambda flat: flat.amax(dim=2)),
    "median": _pool(lambda flat: flat.median(dim=2).values),
    "flatten": lambda maps: maps.flatten(1),
}

# (batch x time x features) to (samples x features)
TIMESERIES_METHODS: dict[str, Callable[[Tensor], Tensor]] = {
    "last_timestep": lambda series: series[:, -1],
    "timestepwise": lambda series: series.flatten(0, 1),
}


@dataclass(frozen=True)
class SamplingMethods:
    """How feature maps and time series become samples."""

    conv: str = "channelwise"
    timeseries: str = "last_timestep"

    def __post_init__(self) -> None:
        for argument, value, choices in (
            ("conv_method", self.conv, CONV_METHODS),
            ("timeseries_method", self.timeseries, TIMESERIES_METHODS),
        ):
            if value not in choices:
                raise ArgumentError(
                    f"{argument}: {value!r} is not one of {', '.join(map(repr, choices))}"
                )


@singledispatch
def samples(layer: nn.Module, output: Any, methods: SamplingMethods) -> Tensor:
    """The samples in a layer's output, (samples x features).

    Dispatches on the type of the layer; a type with an implementation is tracked. Register your
    own with ``@samples.register``.

    Raises:
        NotImplementedError: The type of the layer has no implementation.
    """
    raise NotImplementedError(f"{type(layer).__name__} layers are not tracked")


def is_trackable(layer: nn.Module) -> bool:
    """Whether the type of the layer has an implementation of :func:`samples`."""
    return samples.dispatch(type(layer)) is not samples.dispatch(object)


@samples.register
def _linear(layer: nn.Linear, output: Tensor, methods: SamplingMethods) -> Tensor:
    if output.dim() == 3:
        return TIMESERIES_METHODS[methods.timeseries](output)
    return output.reshape(-1, output.shape[-1])


@samples.register
def _conv(layer: nn.Conv2d, output: Tensor, methods: SamplingMethods) -> Tensor:
    maps = output if output.dim() == 4 else output.unsqueeze(0)
    return CONV_METHODS[methods.conv](maps)


@samples.register
def _lstm(
    layer: nn.LSTM, output: tuple[Tensor, tuple[Tensor, Tensor]], methods: SamplingMethods
) -> Tensor:
    series = output[0]
    if series.dim() == 2:  # one sequence, no batch
        series = series.unsqueeze(0)
    elif not layer.batch_first:
        series = series.transpose(0, 1)
    return TIMESERIES_METHODS[methods.timeseries](series)
