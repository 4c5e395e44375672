"""The covariance of a stream of samples: one pass, any number of batches, merged exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """What a set of samples adds up to.

    Attributes:
        samples: How many there are.
        mean: (features,), float64.
        scatter: (features x features), float64: the sum over samples of (x - mean)(x - mean)'.
    """

    samples: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Moments:
        """The moments of one block of samples, (samples x features), at least one.

        Products are taken around the block's own mean, so float32 is accurate enough for them
        however far that mean is from zero.
        """
        if x.dtype != torch.float64:
            x = x.float()
        with _exact_products(x.device.type):
            shift = x.mean(dim=0)
            centred = x - shift
            # The float32 mean is itself rounded: what is left around it is corrected in float64.
            rest = centred.sum(dim=0, dtype=torch.float64) / len(x)
            scatter = (centred.T @ centred).double()
        return cls(len(x), shift.double() + rest, scatter.addr_(rest, rest, alpha=-len(x)))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets together (Chan, Golub and LeVeque 1979)."""
        samples = self.samples + other.samples
        offset = other.mean - self.mean
        weight = self.samples * other.samples / samples
        return Moments(
            samples,
            self.mean + offset * (other.samples / samples),
            (self.scatter + other.scatter).addr_(offset, offset, alpha=weight),
        )


class TorchCovarianceMatrix:
    """The covariance matrix of samples that arrive batch by batch.

    Args:
        bias: False leaves the mean out of the samples (the covariance), True leaves it in.
        device: Where to accumulate; None stays on the device of the first batch.
    """

    def __init__(self, bias: bool = False, device: torch.device | str | None = None) -> None:
        self.bias = bias
        self.device = None if device is None else torch.device(device)
        self._moments: Moments | None = None

    @property
    def samples(self) -> int:
        """How many samples were seen."""
        return self._moments.samples if self._moments else 0

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Take one batch, (samples x features), of any floating dtype; an empty one is ignored."""
        if not len(x):
            return
        if self.device is None:
            self.device = x.device
        moments = Moments.of(x.detach().to(self.device))
        self._moments = self._moments.merge(moments) if self._moments else moments

    def fix(self, center: bool = True) -> Tensor:
        """The population covariance of all samples so far, (features x features), float64.

        Args:
            center: False gives the raw second moments, around zero instead of the mean.

        Raises:
            ValueError: No sample was seen yet.
        """
        if self._moments is None:
            raise ValueError("there is no covariance yet: no sample was seen; call update() first")
        covariance = self._moments.scatter / self._moments.samples
        if center and not self.bias:
            return covariance
        return covariance.addr_(self._moments.mean, self._moments.mean)


def _exact_products(device_type: str) -> torch.autocast:
    """Autocast would demote the products to half precision."""
    return torch.autocast(device_type, enabled=False)
