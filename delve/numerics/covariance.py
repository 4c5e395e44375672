"""The covariance of a stream of samples: one pass, any number of batches, merged exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from delve.numerics.feature_maps import add_maps, are_maps
from delve.numerics.moments import Moments, products

BLOCK_ELEMENTS = 2**19  # of a block of samples: 2 MiB of float32 stay in a core's cache
GPU_BLOCK_ELEMENTS = 2**22  # where starting an operation costs more than memory does
BLOCK_SAMPLES = 4096  # more would add up too many float32 roundings where features are few
EMBEDDED_SAMPLES = 1000


class TorchCovarianceMatrix:
    """The covariance matrix of samples that arrive batch by batch.

    Samples gather in a block; a full block gives one float32 product around the mean so far, which
    is added to float64 sums. So float32 is accurate however far the samples are from zero, and
    a layer with fewer samples than features never builds its matrix. Samples whose squares leave
    the range of float32 are as accurate on the CPU alone: see
    :func:`delve.numerics.moments.products`.

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
        self.bias = bias
        self._wanted_device = None if device is None else torch.device(device)
        self.device = self._wanted_device
        self.save_data = save_data
        self.saved_samples: Tensor | None = None
        self.samples = 0
        self._moments: Moments | None = None  # of all blocks that were full
        self._block: Tensor | None = None  # (rows x features): samples less the shift
        self._rows = 0  # of the block that are in use
        self._shift: Tensor | None = None  # a value near the samples
        self._is_raw = True  # whether feature maps can be multiplied as they are

    @property
    def features(self) -> int:
        """The dimension of the samples; 0 before the first."""
        return 0 if self._shift is None else len(self._shift)

    def update(self, x: Tensor, vae: bool = False) -> None:
        """Take one batch of any floating dtype and layout; an empty one is ignored.

        Args:
            x: (samples x features), or (batch x positions x features).
            vae: Whether the samples are columns, as in the calls of delve 0.1 for autoencoders.

        Raises:
            ValueError: The number of features is not that of earlier batches.
        """
        # The buffers must be ordinary tensors, also when the model runs in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            x = x.detach()
            if vae:
                x = x.squeeze().unsqueeze(0).T if x.squeeze().dim() == 1 else x.squeeze().T
            if x.numel() == 0:
                return
            if self.features not in (0, x.shape[-1]):
                raise ValueError(
                    f"samples of {x.shape[-1]} features cannot follow samples of {self.features}"
                )
            self._settle(x.device)
            # A copy to the CPU that does not block would be read before it has arrived.
            is_to_cpu = self.device is not None and self.device.type == "cpu"
            self._take(x.to(self.device, non_blocking=not is_to_cpu))

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

    def lower_triangle(self) -> Tensor:
        """As :meth:`fix`, but right on and below the diagonal only, which is all that LAPACK reads.

        Raises:
            ValueError: No sample was seen yet.
        """
        moments = self.moments()
        return moments.scatter.div_(moments.samples)

    @torch.no_grad()
    def moments(self) -> Moments:
        """The moments of all samples so far.

        Raises:
            ValueError: No sample was seen yet.
        """
        if self._block is None or self._shift is None:
            raise ValueError("there is no covariance yet: no sample was seen; call update() first")
        moments = self._moments.copy() if self._moments else self._no_moments()
        if self._rows:
            self._add_block(moments, self._block[: self._rows].clone())
        return moments

    @torch.no_grad()
    def rows_below_features(self) -> Tensor | None:
        """All samples less their mean, (samples x features), float64, if fewer than features."""
        if self._block is None or self._moments or self._rows >= self.features:
            return None
        rows = self._block[: self._rows].double()
        return rows - rows.mean(dim=0)

    def merge_moments(self, moments: Moments) -> None:
        """Add the moments of samples that were seen elsewhere."""
        self._settle(moments.mean.device)
        if self._shift is None:
            self._shift = moments.mean.to(self.device, torch.float32)
            self._block = self._shift.new_empty(0, len(self._shift))
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
            "rows": None if self._block is None else self._block[: self._rows].clone(),
            "block_samples": moments.samples if moments else 0,
            "mean": moments.mean.clone() if moments else None,
            "scatter": moments.scatter.clone() if moments else None,
            "saved_samples": None if self.saved_samples is None else self.saved_samples.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`."""
        state = {
            key: value.clone() if isinstance(value, Tensor) else value
            for key, value in state.items()
        }
        self.samples, self.saved_samples = state["samples"], state["saved_samples"]
        self._shift, self._block = state["shift"], state["rows"]
        self._is_raw = state.get("raw", True)  # earlier versions took off the shift at all times
        self._rows = 0 if self._block is None else len(self._block)
        self._moments = None
        if state["block_samples"]:
            self._moments = Moments(state["block_samples"], state["mean"], state["scatter"])
        # A checkpoint may have been loaded to any device; the next samples tell the right one.
        self.device = self._wanted_device
        if self.device is not None:
            self._move_to(self.device)

    def _settle(self, device: torch.device) -> None:
        """Stay on the device of the first samples, unless one was asked for."""
        if self.device is None:
            # Apple's GPUs have no float64, of which the sums are.
            self.device = torch.device("cpu") if device.type == "mps" else device
            self._move_to(self.device)

    def _move_to(self, device: torch.device) -> None:
        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        self._shift, self._block = moved(self._shift), moved(self._block)
        self.saved_samples = moved(self.saved_samples)
        if self._moments:
            self._moments = self._moments.to(device)

    def _take(self, x: Tensor) -> None:
        if self._shift is None:
            self._begin(x)
        self._save(x)
        self.samples += x.numel() // x.shape[-1]
        if x.dim() == 3 and are_maps(x):
            self._add_maps(x.transpose(1, 2))
        else:
            self._add_rows(x)

    def _begin(self, x: Tensor) -> None:
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        self._shift = x.mean(dim=tuple(range(x.dim() - 1)), dtype=dtype)
        self._block = torch.empty(0, x.shape[-1], dtype=dtype, device=x.device)

    def _add_rows(self, x: Tensor) -> None:
        """Put samples into the block; a full block goes into the moments."""
        positions = x.shape[1] if x.dim() == 3 else 1
        if positions > self._capacity:
            x, positions = x.reshape(-1, x.shape[-1]), 1
        for part in torch.split(x, self._capacity // positions):
            self._put(part, len(part) * positions)

    def _put(self, part: Tensor, rows: int) -> None:
        """Put at most a block's worth of samples into the block."""
        assert self._shift is not None
        if self._rows + rows > self._capacity:
            self._empty_block()
        block = self._grown(self._rows + rows)
        space = block[self._rows : self._rows + rows]
        torch.sub(part, self._shift, out=space.view(part.shape))
        self._rows += rows

    @property
    def _capacity(self) -> int:
        """How many samples make a full block."""
        return max(2 * self.features, min(self._block_elements // self.features, BLOCK_SAMPLES))

    @property
    def _block_elements(self) -> int:
        assert self.device is not None
        return BLOCK_ELEMENTS if self.device.type == "cpu" else GPU_BLOCK_ELEMENTS

    def _grown(self, rows: int) -> Tensor:
        assert self._block is not None
        if len(self._block) < rows:
            larger = self._block.new_empty(
                min(self._capacity, max(rows, 2 * len(self._block))), self.features
            )
            larger[: self._rows] = self._block[: self._rows]
            self._block = larger
        return self._block

    def _empty_block(self) -> None:
        assert self._block is not None
        if self._rows:
            self._moments = self._moments or self._no_moments()
            self._add_block(self._moments, self._block[: self._rows])
            self._shift_to_mean()
            self._rows = 0

    def _add_block(self, moments: Moments, rows: Tensor) -> None:
        """Add shifted rows, which are overwritten."""
        assert self._shift is not None
        centre = self._shift
        if moments.samples == 0:
            # The first batch may be no measure of the rest. A later block that is far from the
            # mean so far is as far apart in the covariance itself, which bounds its rounding.
            rest = rows.mean(dim=0)
            rows.sub_(rest)
            centre = centre.double() + rest
        moments.add(len(rows), centre, rows.mean(dim=0), products(rows[None].transpose(1, 2)))

    def _add_maps(self, maps: Tensor) -> None:
        """Feature maps with many positions, (batch x features x positions)."""
        self._empty_block()  # which holds rows less the shift that is about to move
        assert self._shift is not None
        self._moments = self._moments or self._no_moments()
        self._is_raw = add_maps(
            self._moments, maps, self._shift, self._block_elements, self._is_raw
        )
        self._shift_to_mean()

    def _shift_to_mean(self) -> None:
        assert self._shift is not None
        assert self._moments is not None
        # A copy also where the dtype is the same: the mean moves on under rows less the shift.
        self._shift = self._moments.mean.to(self._shift.dtype, copy=True)

    def _no_moments(self) -> Moments:
        assert self._shift is not None
        return Moments.none(self.features, self._shift.device)

    def _save(self, x: Tensor) -> None:
        held = self.saved_samples
        wanted = EMBEDDED_SAMPLES - (0 if held is None else len(held))
        if self.save_data and wanted > 0:
            new = x.reshape(-1, x.shape[-1])[:wanted].clone()
            self.saved_samples = new if held is None else torch.cat([held, new])
