"""The covariance of a stream of samples: one pass, any number of batches, merged exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from delve.numerics.intake import Intake
from delve.numerics.moments import Moments, packed, unpacked
from delve.numerics.ordinary import ordinarily
from delve.numerics.row_block import RowBlock


class TorchCovarianceMatrix(Intake):
    """The covariance matrix of samples that arrive batch by batch.

    Samples gather in a block; a full block gives one float32 product around the mean so far, which
    is added to float64 sums. So float32 is accurate however far the samples are from zero, and
    a layer with fewer samples than features never builds its matrix. Samples whose squares leave
    the range of float32 are as accurate on the CPU alone: see
    ``products``.

    Args:
        bias: Without effect, as in delve 0.1: the covariance is always divided by the number of
            samples.
        device: Where to accumulate; None stays on the device of the first batch.
        save_data: Whether to keep the first 1000 samples in ``saved_samples``.

    Attributes:
        samples: How many samples were seen.
        saved_samples: (at most 1000 x features), or None.
    """

    def __init__(
        self,
        bias: bool = False,
        device: torch.device | str | None = None,
        save_data: bool = False,
    ) -> None:
        super().__init__(None if device is None else torch.device(device), save_data)
        self.bias = bias

    @classmethod
    def of_moments(cls, moments: Moments) -> TorchCovarianceMatrix:
        """That of samples with these moments, which are kept themselves."""
        self = cls()
        self._settle(moments.mean.device)
        self._shift = moments.mean.float()
        self._block = self._no_rows(self._shift)
        self.samples, self._moments = moments.samples, moments
        return self

    def update(self, x: Tensor, vae: bool = False) -> None:
        """Take one batch of any floating dtype and layout; an empty one is ignored.

        Args:
            x: (samples x features), or (batch x positions x features).
            vae: Whether the samples are columns, as in the calls of delve 0.1 for autoencoders.

        Raises:
            ValueError: The number of features is not that of earlier batches.
        """
        ordinarily(self._update, x, vae)

    def _update(self, x: Tensor, vae: bool) -> None:
        x = x.detach()
        if vae:
            x = x.squeeze().unsqueeze(0).T if x.squeeze().dim() == 1 else x.squeeze().T
        if x.numel() == 0:
            return
        if x.shape[-1] != self.features and self.features:
            raise ValueError(
                f"samples of {x.shape[-1]} features cannot follow samples of {self.features}"
            )
        if x.device != self.device:
            self._settle(x.device)
            # A copy to the CPU that does not block would be read before it has arrived.
            is_to_cpu = self.device is not None and self.device.type == "cpu"
            x = x.to(self.device, non_blocking=not is_to_cpu)
        self._take(x)

    def fix(self, center: bool = True) -> Tensor:
        """The population covariance of all samples so far, (features x features), float64.

        Args:
            center: False gives the raw second moments, around zero instead of the mean.

        Raises:
            ValueError: No sample was seen yet.
        """
        moments = self.moments()
        covariance = moments.covariance()
        return covariance if center else covariance.addr_(moments.mean, moments.mean)

    @torch.no_grad()
    def moments(self) -> Moments:
        """The moments of all samples so far.

        Raises:
            ValueError: No sample was seen yet.
        """
        if self._block is None:
            raise ValueError("there is no covariance yet: no sample was seen; call update() first")
        moments = self._moments.copy() if self._moments else self._no_moments()
        if self._block.count:
            self._add_block(moments, self._block.rows_and_one().clone())
        return moments

    @torch.no_grad()
    def settled(self) -> Moments:
        """As :meth:`moments`, themselves rather than a copy.

        Raises:
            ValueError: No sample was seen yet.
        """
        if self._block is None:
            raise ValueError("there is no covariance yet: no sample was seen; call update() first")
        self._empty_block()
        return self._moments or self._no_moments()

    @torch.no_grad()
    def rows_below_features(self) -> Tensor | None:
        """All samples less their mean, (samples x features), float64, if fewer than features."""
        if self._block is None or self._moments or self._block.count >= self.features:
            return None
        rows = self._block.rows.double()
        return rows.sub_(rows.mean(dim=0))

    def parts(self) -> tuple[Moments | None, Tensor | None, Tensor | None]:
        """What is held, itself: moments, and samples less the shift, with the shift."""
        rows = None if self._block is None else self._block.rows
        return self._moments, rows, self._shift

    def merge_moments(self, moments: Moments) -> None:
        """Add the moments of samples that were seen elsewhere."""
        self._settle(moments.mean.device)
        if self._shift is None:
            self._shift = moments.mean.to(self.device, torch.float32)
            self._block = self._no_rows(self._shift)
        self.samples += moments.samples
        self._moments = self._moments or self._no_moments()
        self._moments.merge(moments.to(self._shift.device))

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`load_state_dict` needs to go on with the same bits."""
        moments = self._moments
        return {
            "samples": self.samples,
            "raw": self._is_raw,
            "shift": None if self._shift is None else self._shift.clone(),
            "rows": None if self._block is None else self._block.rows.clone(),
            "block_samples": moments.samples if moments else 0,
            "mean": moments.mean.clone() if moments else None,
            "scatter": packed(moments.scatter) if moments else None,
            "saved_samples": None if self.saved_samples is None else self.saved_samples.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`."""
        state = {
            key: value.clone() if isinstance(value, Tensor) else value
            for key, value in state.items()
        }
        self.samples, self.saved_samples = state["samples"], state["saved_samples"]
        self._shift = state["shift"]
        self._is_raw = state.get("raw", True)  # earlier versions took off the shift at all times
        self._block = None if state["rows"] is None else RowBlock(state["rows"])
        self._moments = None
        if state["block_samples"]:
            mean, scatter = state["mean"], state["scatter"]
            if scatter.dim() == 1:  # earlier builds kept the whole matrix
                scatter = unpacked(scatter, len(mean))
            self._moments = Moments(state["block_samples"], mean, scatter)
        # A checkpoint may have been loaded to any device; the next samples tell the right one.
        self.device = self._wanted_device
        if self.device is not None:
            self._move_to(self.device)
