"""A layer's output as samples: rows of features, by the family of the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from delve.base.checks import check_count
from delve.capture.masks import MASKED_METHODS, Mask, mean_dtype
from delve.capture.stand_ins import is_proxy
from delve.errors import ArgumentError

# torch.nn.functional.interpolate's modes, and for how many dimensions of space each works.
INTERPOLATION_MODES: dict[str, tuple[int, ...]] = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
}


def _positions(maps: Tensor) -> Tensor:
    # A view: (batch x positions x channels) tells the covariance how the maps lie in memory.
    return maps.flatten(2).transpose(1, 2)


def _means(maps: Tensor) -> Tensor:
    return maps.flatten(2).mean(dim=2, dtype=mean_dtype(maps))


# (batch x channels x space...) to rows of features
CONV_METHODS: dict[str, Callable[[Tensor], Tensor]] = {
    "channelwise": _positions,
    "mean": _means,
    "max": lambda maps: maps.flatten(2).amax(dim=2),
    "median": lambda maps: maps.flatten(2).median(dim=2).values,
    "flatten": lambda maps: maps.flatten(1),
}

# (batch x time x features) to rows of features
TIMESERIES_METHODS: dict[str, Callable[[Tensor], Tensor]] = {
    "last_timestep": lambda series: series[:, -1],
    "first": lambda series: series[:, 0],
    "mean": lambda series: series.mean(dim=1, dtype=mean_dtype(series)),
    "timestepwise": lambda series: series,
}


@dataclass(frozen=True)
class SamplingMethods:
    """How feature maps and time series become samples.

    Attributes:
        conv: A key of ``CONV_METHODS``. ``median`` is torch's: of an even number of values, the
            lower of the two in the middle.
        timeseries: A key of ``TIMESERIES_METHODS``.
        interpolation: The mode by which large feature maps are shrunk first, if any.
        largest: The size that they are shrunk to, in each dimension of space.
        mask: Which positions of series are real, where the pass tells.

    Raises:
        ArgumentError: A choice is unknown, or the size is not a whole number of at least 1.
    """

    conv: str = "channelwise"
    timeseries: str = "last_timestep"
    interpolation: str | None = None
    largest: int = 32
    mask: Mask | None = None

    def __post_init__(self) -> None:
        _check_choice("conv_method", self.conv, CONV_METHODS)
        _check_choice("timeseries_method", self.timeseries, TIMESERIES_METHODS)
        if self.interpolation is not None:
            _check_choice("interpolation_strategy", self.interpolation, INTERPOLATION_MODES)
        largest = check_count("interpolation_downsampling", self.largest)
        object.__setattr__(self, "largest", largest)  # an int, also where it was NumPy's

    def of_maps(self, maps: Tensor) -> Tensor:
        """Samples of feature maps, (batch x channels x space...)."""
        if self.interpolation is not None and max(maps.shape[2:]) > self.largest:
            maps = _shrunk(maps, self.interpolation, self.largest)
        return CONV_METHODS[self.conv](maps)

    def of_series(self, series: Tensor) -> Tensor:
        """Samples of time series, (batch x time x features), without padding that is known."""
        if self.mask is not None and self.mask.covers(series):
            return MASKED_METHODS[self.timeseries](self.mask, series)
        return TIMESERIES_METHODS[self.timeseries](series)

    def of_positions(self, output: Tensor) -> Tensor:
        """Each position a sample, (... x features), without padding that is known."""
        if self.mask is not None and output.dim() > 2 and self.mask.covers(output):
            output = self.mask.every(output)
        elif self.mask is not None and self.mask.covers_rows(output):
            output = self.mask.every(output.reshape(*self.mask.real.shape, -1))
        return _rows(output)

    def of_sequences(self, sequences: Iterable[Tensor]) -> Tensor:
        """Samples of sequences of any lengths, each (time x features) and none of them padded."""
        method = TIMESERIES_METHODS[self.timeseries]
        # An empty one has neither a last step nor a mean.
        return torch.cat([_rows(method(one.unsqueeze(0))) for one in sequences if len(one)])


def _shrunk(maps: Tensor, mode: str, largest: int) -> Tensor:
    space = maps.shape[2:]
    if len(space) not in INTERPOLATION_MODES[mode]:
        fitting = [other for other, spaces in INTERPOLATION_MODES.items() if len(space) in spaces]
        raise ValueError(
            f"interpolation_strategy {mode!r} does not fit {len(space)}-dimensional maps; these "
            f"do: {', '.join(fitting)}"
        )
    if not mode.startswith("nearest"):  # which picks values; others round what they compute
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    return nn.functional.interpolate(
        maps, size=[min(length, largest) for length in space], mode=mode
    )


@singledispatch
def samples(layer: nn.Module, output: Any, methods: SamplingMethods) -> Tensor:
    """The samples in a layer's output, (samples x features) or (batch x positions x features).

    Dispatches on the type of the layer; a type with an implementation is tracked. ``output`` is
    what the layer returned, the first tensor where that is a tuple, a dictionary or a model
    output. To track a type of your own::

        @samples.register
        def _(layer: MyLayer, output, methods):
            return methods.of_series(output)

    Raises:
        NotImplementedError: The type of the layer has no implementation.
    """
    raise NotImplementedError(f"{type(layer).__name__} layers are not tracked")


def is_trackable(layer: nn.Module) -> bool:
    """Whether the type of the layer has an implementation of :func:`samples`."""
    return samples.dispatch(type(layer)) is not samples.dispatch(object)


def is_convolution(layer: nn.Module) -> bool:
    """Whether the layer's output is feature maps."""
    return isinstance(layer, CONVOLUTIONS)


def first_tensor(output: Any) -> Any:
    """The tensor that stands for a layer's output.

    ``last_hidden_state`` where there is one, else the first tensor of a tuple, list or
    dictionary, however nested. A PackedSequence stands for itself, and so does what stands for
    an output where a model is traced.
    """
    if isinstance(output, (Tensor, PackedSequence)):
        return output
    if is_proxy(output):
        return output
    hidden = getattr(output, "last_hidden_state", None)
    if isinstance(output, Mapping):
        hidden = output.get("last_hidden_state", hidden)
        output = tuple(output.values())
    if isinstance(hidden, Tensor):
        return hidden
    if isinstance(output, (tuple, list)):
        candidates = (first_tensor(item) for item in output)
        return next(
            (item for item in candidates if isinstance(item, Tensor | PackedSequence)), None
        )
    return None


@samples.register
def _linear(layer: nn.Linear, output: Tensor, methods: SamplingMethods) -> Tensor:
    if output.is_nested:
        return _of_nested(output, methods)
    if methods.mask is not None:
        output = methods.mask.batch_first(output)
    return methods.of_series(output) if output.dim() == 3 else methods.of_positions(output)


CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def _convolution(layer: nn.Conv2d, output: Tensor, methods: SamplingMethods) -> Tensor:
    batched = output.dim() == len(layer.kernel_size) + 2
    return methods.of_maps(output if batched else output.unsqueeze(0))


for _type in CONVOLUTIONS:
    samples.register(_type, _convolution)


def _recurrent(layer: nn.LSTM, output: Tensor | PackedSequence, methods: SamplingMethods) -> Tensor:
    if isinstance(output, PackedSequence):
        return _PACKED_METHODS[methods.timeseries](output)
    if output.is_nested:
        return _of_nested(output, methods)
    if output.dim() == 2:  # one sequence, no batch
        output = output.unsqueeze(0)
    elif not layer.batch_first:
        output = output.transpose(0, 1)
    return methods.of_series(output)


for _recurrent_type in (nn.LSTM, nn.GRU, nn.RNN, nn.MultiheadAttention):
    samples.register(_recurrent_type, _recurrent)


def _last_steps(packed: PackedSequence) -> Tensor:
    """The true last step of each sequence."""
    sizes = packed.batch_sizes  # how many sequences are at least so long, step by step
    ends = torch.cumsum(sizes, dim=0)
    # The sizes are on the CPU, whatever device new tensors go to by default.
    sequences = torch.arange(int(sizes[0]), device=sizes.device)
    lengths = (sizes[None, :] > sequences[:, None]).sum(dim=1)
    begins = ends - sizes
    return packed.data[begins[lengths - 1] + sequences]


def _mean_steps(packed: PackedSequence) -> Tensor:
    """The mean of each sequence."""
    padded, lengths = pad_packed_sequence(packed, batch_first=True)  # with zeros
    sums = padded.sum(dim=1, dtype=mean_dtype(padded))
    return sums / lengths.to(sums.device)[:, None]


_PACKED_METHODS: dict[str, Callable[[PackedSequence], Tensor]] = {
    "last_timestep": _last_steps,
    "first": lambda packed: packed.data[: int(packed.batch_sizes[0])],
    "mean": _mean_steps,
    "timestepwise": lambda packed: packed.data,
}


def _of_nested(nested: Tensor, methods: SamplingMethods) -> Tensor:
    """Samples of sequences of different lengths, of which none is padded."""
    sequences = nested.unbind()
    if methods.mask is not None:
        methods.mask.holds_for_sequences(len(sequences))
    if nested.dim() == 3:
        return methods.of_sequences(sequences)
    return torch.cat([_rows(sequence) for sequence in sequences])


def _rows(output: Tensor) -> Tensor:
    return output.reshape(-1, output.shape[-1])


def _check_choice(argument: str, value: Any, choices: Mapping[str, Any]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"{argument}: {value!r} is not one of {', '.join(map(repr, choices))}")
