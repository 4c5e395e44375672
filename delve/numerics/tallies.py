"""Sums of a stream of samples beside its covariance: small, in one pass, and merged exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor


class Maximum:
    """The largest value of each feature.

    Attributes:
        values: (features,); None before the first sample. NaN where one was seen.
    """

    def __init__(self) -> None:
        self.values: Tensor | None = None

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Take samples, (samples x features) or (batch x positions x features)."""
        self._add(rows.amax(dim=tuple(range(rows.dim() - 1))))

    def merge(self, other: Self) -> None:
        """Add what was seen elsewhere."""
        if other.values is not None:
            self._add(other.values)

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`load_state_dict` needs."""
        return {"values": self.values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`."""
        self.values = state["values"]

    def _add(self, values: Tensor) -> None:
        if self.values is not None:
            values = torch.maximum(self.values, values.to(self.values.device, self.values.dtype))
        self.values = values


class PositiveSum:
    """The sum of each feature's positive parts: what a ReLU behind it lets through.

    Attributes:
        values: (features,), float64; None before the first sample.
    """

    def __init__(self) -> None:
        self.values: Tensor | None = None

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Take samples, (samples x features) or (batch x positions x features)."""
        dtype = torch.promote_types(rows.dtype, torch.float32)
        self._add(rows.clamp(min=0).sum(dim=tuple(range(rows.dim() - 1)), dtype=dtype))

    def merge(self, other: Self) -> None:
        """Add what was seen elsewhere."""
        if other.values is not None:
            self._add(other.values)

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`load_state_dict` needs."""
        return {"values": self.values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`."""
        self.values = state["values"]

    def _add(self, values: Tensor) -> None:
        # Apple's GPUs have no float64.
        values = values.to("cpu" if values.device.type == "mps" else values.device).double()
        self.values = values if self.values is None else self.values + values.to(self.values.device)


class SequenceSpread:
    """The variance of a stream of sequences, in two parts: within each, and between their means.

    Both are sums over positions and features, of squares of what deviates from the mean.

    Attributes:
        positions: How many positions were seen.
        mean: (features,), float64: the mean of all positions; None before the first.
        within: The sum of the squared deviations from the sequence's own mean.
        between: The sum of the squared deviations of the sequence's mean from the mean of all,
            once for each position.
    """

    def __init__(self) -> None:
        self.positions = 0
        self.mean: Tensor | None = None
        self.within = 0.0
        self.between = 0.0

    @property
    def share(self) -> float:
        """The part of the variance that is within sequences; 0 where nothing varies."""
        total = self.within + self.between
        return self.within / total if total > 0 else total  # which is NaN or 0

    @torch.no_grad()
    def update(self, series: Tensor, real: Tensor | None = None) -> None:
        """Take sequences.

        Args:
            series: (batch x time x features).
            real: (batch x time): which positions are no padding; None: all are.
        """
        series = series.to("cpu") if series.device.type == "mps" else series
        if real is None:
            lengths = torch.full((len(series), 1), series.shape[1], device=series.device)
        else:
            real = (real != 0).to(series.device)
            kept = real.any(dim=1)
            series, real = series[kept], real[kept]
            series = torch.where(real[..., None], series, 0)  # what is there may be infinite
            lengths = real.sum(dim=1, keepdim=True)
        if not series.numel():
            return
        means = series.sum(dim=1, dtype=torch.float64) / lengths
        rest = series.double() - means[:, None]
        if real is not None:
            rest = torch.where(real[..., None], rest, 0)
        mean = (means * lengths).sum(dim=0) / lengths.sum()
        between = ((means - mean).square() * lengths).sum()
        self._add(int(lengths.sum()), mean, float(rest.square().sum()), float(between))

    def merge(self, other: Self) -> None:
        """Add what was seen elsewhere (Chan, Golub and LeVeque 1979)."""
        if other.mean is not None:
            self._add(other.positions, other.mean, other.within, other.between)

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`load_state_dict` needs."""
        return {
            "positions": self.positions,
            "mean": self.mean,
            "within": self.within,
            "between": self.between,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`."""
        self.positions, self.mean = state["positions"], state["mean"]
        self.within, self.between = state["within"], state["between"]

    def _add(self, positions: int, mean: Tensor, within: float, between: float) -> None:
        self.within += within
        self.between += between
        if self.mean is None:
            self.positions, self.mean = positions, mean
            return
        offset = mean.to(self.mean.device) - self.mean
        total = self.positions + positions
        self.between += float(offset.square().sum()) * self.positions * positions / total
        self.mean = self.mean + offset * (positions / total)
        self.positions = total


class Count:
    """How many there were.

    Attributes:
        value: So many.
    """

    def __init__(self) -> None:
        self.value = 0

    def update(self, more: int) -> None:
        """Count so many more."""
        self.value += more

    def merge(self, other: Self) -> None:
        """Add what was counted elsewhere."""
        self.value += other.value

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`load_state_dict` needs."""
        return {"value": self.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`."""
        self.value = state["value"]
