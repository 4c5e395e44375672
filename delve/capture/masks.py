"""Which positions of padded sequences are real, and samples of those alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from delve.errors import ArgumentError
from delve.records import shortened

_WHAT_IT_IS = (
    "(batch x time), True or 1 where a position is real and False or 0 where it is padding"
)


class Mask:
    """Which positions of the sequences of a pass are real.

    It holds for outputs whose first two dimensions are its own; others are taken whole.

    Args:
        real: (batch x time): True, or another number than 0, where a position is real. A sequence
            without a real position gives no sample.
        is_time_first: Whether what a linear layer returns is (time x batch x features); None tells
            it by the shape, and where both lengths are the same takes the batch to be first.
    """

    def __init__(self, real: Tensor, is_time_first: bool | None = False) -> None:
        self.real = real
        self._is_time_first = is_time_first

    @property
    def is_in_doubt(self) -> bool:
        """Whether it may belong to another pass: then nothing is to be recorded yet."""
        return False

    def batch_first(self, output: Tensor) -> Tensor:
        """An output of a layer that does not tell its layout, with the batch first."""
        batch, time = self.real.shape
        is_turned = output.dim() > 2 and tuple(output.shape[:2]) == (time, batch)
        if self._is_time_first is None:
            is_turned = is_turned and batch != time
        elif not self._is_time_first:
            is_turned = False
        return output.transpose(0, 1) if is_turned else output

    def covers(self, series: Tensor) -> bool:
        """Whether it says which positions of ``series``, (batch x time x ...), are real."""
        return series.dim() > 2 and series.shape[:2] == self.real.shape

    def covers_rows(self, rows: Tensor) -> bool:
        """Whether ``rows`` are the positions of all sequences, one after the other."""
        count = self.real.numel()
        return rows.dim() == 2 and len(rows) == count != len(self.real) and not self._is_time_first

    def holds_for_sequences(self, count: int) -> None:
        """So many sequences came that are without padding already."""

    def every(self, series: Tensor) -> Tensor:
        """The real positions of a series that it covers, (positions x ...), or all as they are."""
        return series if self._is_whole else _picked(series, self._positions)

    def last(self, series: Tensor) -> Tensor:
        """The last real position of each sequence."""
        return _picked(series, self._ends[1])

    def first(self, series: Tensor) -> Tensor:
        """The first real position of each sequence."""
        return _picked(series, self._ends[0])

    def mean(self, series: Tensor) -> Tensor:
        """The mean of the real positions of each sequence."""
        if self._is_whole:
            return series.mean(dim=1, dtype=mean_dtype(series))
        real = self.real.to(series.device) != 0
        # Not a product: what stands at padding may be infinite.
        sums = torch.where(real[..., None], series, 0).sum(dim=1, dtype=mean_dtype(series))
        means = sums / real.sum(dim=1, keepdim=True)
        return means.index_select(0, self._sequences.to(series.device))

    @property
    def padding(self) -> int:
        """How many positions are not real."""
        return self.real.numel() - self._positions.numel()

    # A device has to wait where it counts: so it does that once a pass, not in each layer.

    @functools.cached_property
    def _positions(self) -> Tensor:
        """The real positions, counted through the whole batch."""
        return (self.real.flatten() != 0).nonzero().squeeze(1)

    @property
    def _is_whole(self) -> bool:
        """Whether there is no padding: then nothing has to be copied."""
        return self._positions.numel() == self.real.numel()

    @functools.cached_property
    def _sequences(self) -> Tensor:
        """The sequences that have a real position."""
        return (self.real != 0).any(dim=1).nonzero().squeeze(1)

    @functools.cached_property
    def _ends(self) -> tuple[Tensor, Tensor]:
        """The first and the last real position of each sequence that has one."""
        real = self.real[self._sequences] != 0
        time = real.shape[1]
        steps = torch.arange(time, device=real.device)
        first = torch.where(real, steps, time).amin(dim=1)
        last = torch.where(real, steps, -1).amax(dim=1)
        return self._sequences * time + first, self._sequences * time + last


class SaidMask(Mask):
    """A mask that the user has given for a pass, which has to fit something in it."""

    def __init__(self, real: Tensor) -> None:
        super().__init__(real, is_time_first=None)
        self._has_fitted = False
        self._missed: dict[str, None] = {}

    @property
    def is_in_doubt(self) -> bool:
        """Whether nothing in the pass was of its shape so far."""
        return not self._has_fitted

    @property
    def has_missed(self) -> bool:
        """Whether there were series, and none was of its shape."""
        return bool(self._missed) and not self._has_fitted

    def covers(self, series: Tensor) -> bool:
        """As for any mask; which shapes came is remembered."""
        fits = super().covers(series)
        self._note(fits, str(tuple(series.shape)))
        return fits

    def holds_for_sequences(self, count: int) -> None:
        """Remember whether it has as many sequences."""
        self._note(count == len(self.real), f"{count} nested sequences")

    def check_fitted(self) -> None:
        """Make sure at the end of the pass that it was for this pass.

        Raises:
            ArgumentError: There were series, and none was of its shape.
        """
        if self.has_missed:
            raise ArgumentError(
                f"mask: its shape is {tuple(self.real.shape)}, but no series in the pass is (batch "
                f"x time x features) of that batch and time: {shortened(list(self._missed))}; "
                "nothing of the pass was recorded. Give the mask of the batch that the model got "
                "within the block"
            )

    def _note(self, fits: bool, shape: str) -> None:
        if fits:
            self._has_fitted = True
        else:
            self._missed[shape] = None


# Of series that a mask covers, under the names of what is taken of whole series
MASKED_METHODS: dict[str, Callable[[Mask, Tensor], Tensor]] = {
    "last_timestep": Mask.last,
    "first": Mask.first,
    "mean": Mask.mean,
    "timestepwise": Mask.every,
}


def no_mask() -> Mask:
    """A mask that covers nothing."""
    return Mask(torch.zeros(0, 0, dtype=torch.bool, device="cpu"))


def checked_mask(mask: Any) -> SaidMask:
    """The mask that a user gave.

    Raises:
        ArgumentError: It is no mask of (batch x time), or holds other numbers than 0 and 1, or a
            sequence without a real position.
    """
    real = _as_tensor(mask)
    if real.dim() != 2 or not real.numel():
        raise ArgumentError(
            f"mask must be {_WHAT_IT_IS}, such as a tokenizer's attention_mask, not of shape "
            f"{tuple(real.shape)}"
        )
    if real.dtype != torch.bool and not bool(((real == 0) | (real == 1)).all()):
        raise ArgumentError(
            f"mask must be {_WHAT_IT_IS}, but it holds other numbers than 0 and 1; a mask to be "
            "added to attention scores is another thing: give the one that it was made of"
        )
    empty = (~(real != 0).any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ArgumentError(
            f"mask: the sequences {shortened([str(number) for number in empty])} have no real "
            "position; leave them out of the batch"
            if len(empty) > 1
            else f"mask: sequence {empty[0]} has no real position; leave it out of the batch"
        )
    return SaidMask(real)


def mean_dtype(tensor: Tensor) -> torch.dtype:
    """What means are computed in.

    Means spread less than what they are of, so rounding them to its dtype would show. They are
    few: in float64 they cost the covariance nothing worth saving.
    """
    return torch.float32 if tensor.device.type == "mps" else torch.float64  # MPS lacks float64


def _picked(series: Tensor, positions: Tensor) -> Tensor:
    return series.flatten(0, 1).index_select(0, positions.to(series.device))


def _as_tensor(mask: Any) -> Tensor:
    try:
        tensor = torch.as_tensor(mask).detach()
        if tensor.is_nested or tensor.layout is not torch.strided:
            raise TypeError(f"its layout is {tensor.layout}")
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(
            f"mask must be a tensor or array, {_WHAT_IT_IS}, not a {type(mask).__name__} "
            f"({str(error).partition(chr(10))[0]})"
        ) from error
    return tensor
