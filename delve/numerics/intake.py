"""From batches to moments: samples that gather in a block, and the products of full ones."""

from __future__ import annotations

import torch
from torch import Tensor

from delve.numerics.feature_maps import add_maps, are_maps
from delve.numerics.moments import Moments, products
from delve.numerics.on_device import MOST_SAMPLES, add_on_device
from delve.numerics.row_block import RowBlock
from delve.numerics.scratch import scratch

BLOCK_ELEMENTS = 2**19  # of a block of samples: 2 MiB of float32 stay in a core's cache
GPU_BLOCK_ELEMENTS = 2**22  # where starting an operation costs more than memory does
BLOCK_SAMPLES = 4096  # more would add up too many float32 roundings where features are few
EMBEDDED_SAMPLES = 1000


class Intake:
    """What :class:`delve.numerics.covariance.TorchCovarianceMatrix` does with samples.

    Args:
        device: Where to accumulate; None stays on the device of the first batch.
        save_data: Whether to keep the first 1000 samples in ``saved_samples``.
    """

    def __init__(self, device: torch.device | None, save_data: bool) -> None:
        self._wanted_device = device
        self.device = device
        self.save_data = save_data
        self.saved_samples: Tensor | None = None
        self.samples = 0
        self._moments: Moments | None = None  # of all blocks that were full
        self._block: RowBlock | None = None  # samples less the shift
        self._shift: Tensor | None = None  # a value near the samples
        self._is_raw = True  # whether feature maps can be multiplied as they are
        self._changes = False  # whether sums are being changed, so that they are not whole
        self._waiting = 0  # samples of the batch under way that are not in yet

    @property
    def waiting(self) -> int:
        """How many samples of the last batch did not get in, as memory was not enough."""
        return self._waiting

    @property
    def is_whole(self) -> bool:
        """Whether the sums are what they say; not after an error that came while they changed."""
        return not self._changes

    @property
    def features(self) -> int:
        """The dimension of the samples; 0 before the first."""
        return 0 if self._shift is None else self._shift.shape[0]  # quicker than len()

    def clear(self) -> None:
        """Forget all samples, and give back what they took."""
        self.samples, self._moments, self._block, self._shift = 0, None, None, None
        self._changes, self._waiting, self.saved_samples = False, 0, None
        self._is_raw = True

    def _settle(self, device: torch.device) -> None:
        """Stay on the device of the first samples, unless one was asked for."""
        if self.device is None:
            # Apple's GPUs have no float64, of which the sums are.
            self.device = torch.device("cpu") if device.type == "mps" else device
            self._move_to(self.device)

    def _move_to(self, device: torch.device) -> None:
        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        self._shift, self.saved_samples = moved(self._shift), moved(self.saved_samples)
        if self._block is not None:
            self._block = self._block.to(device)
        if self._moments:
            self._moments = self._moments.to(device)

    def _take(self, x: Tensor) -> None:
        if self._shift is None:
            self._begin(x)
        if self.save_data:
            self._save(x)
        self._waiting = x.numel() // x.shape[-1]
        if x.dim() == 3 and are_maps(x):
            self._add_maps(x.transpose(1, 2))
        else:
            self._add_rows(x)

    def _begin(self, x: Tensor) -> None:
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        shift = x.mean(dim=tuple(range(x.dim() - 1)), dtype=dtype)
        self._block = self._no_rows(shift)
        self._shift = shift

    def _add_rows(self, x: Tensor) -> None:
        """Put samples into the block; a full block goes into the moments."""
        most = self._capacity
        if self._waiting <= most:
            self._put(x, self._waiting, most)
            return
        if not x.is_cpu:
            rest = self._added_on_device(x)
            if len(rest):
                self._put(rest, len(rest), most)
            return
        self._empty_block()  # which holds rows less the shift that is about to move
        most = max(most, BLOCK_SAMPLES)
        positions = x.shape[1] if x.dim() == 3 else 1
        if positions > most:
            x, positions = x.reshape(-1, x.shape[-1]), 1
        for part in torch.split(x, most // positions):
            self._add_directly(part, len(part) * positions)

    def _added_on_device(self, x: Tensor) -> Tensor:
        """Add as many samples as can be split evenly, and return the others."""
        rows = x.reshape(-1, self.features)
        count = len(rows)
        count -= count % -(-count // MOST_SAMPLES)
        self._add_all(rows[None, :count].transpose(1, 2))
        return rows[count:]

    def _add_all(self, maps: Tensor) -> None:
        """Add (batch x features x positions) on a device."""
        self._moments = self._moments or self._no_moments()
        add_on_device(self._moments, maps, self._change)
        self._changes = False
        self._came(maps.shape[0] * maps.shape[2])
        if self._block is not None and not self._block.count:  # else it holds rows less the shift
            self._shift_to_mean()

    def _add_directly(self, part: Tensor, rows: int) -> None:
        """Add enough samples for a product, without a block of this layer's own."""
        assert self._shift is not None
        space = scratch((rows + 1, self.features), self._shift.dtype, part.device)
        torch.sub(part, self._shift, out=space[:rows].view(part.shape))
        if self._moments is None:
            self._moments = self._no_moments()
        self._add_block(self._moments, space)
        self._came(rows)
        self._shift_to_mean()

    def _put(self, part: Tensor, rows: int, most: int) -> None:
        """Put samples into the block, which has room for this many when it is full."""
        assert self._shift is not None
        assert self._block is not None
        if self._block.count and self._block.count + rows > most:
            self._empty_block()
        space = self._block.space(rows, most)
        torch.sub(part, self._shift, out=space if part.dim() == 2 else space.view(part.shape))
        self._came(rows)

    def _came(self, samples: int) -> None:
        self.samples += samples
        self._waiting -= samples

    @property
    def _capacity(self) -> int:
        """How many samples make a full block.

        As many as features while there is no matrix, which fewer do without; then a quarter of
        that, so that the block takes little beside the matrix.
        """
        features = self.features
        least = -(-features // 4) if self._moments else features
        return max(least, min(self._block_elements // features, BLOCK_SAMPLES))

    @property
    def _block_elements(self) -> int:
        where = self.device or self._held_on()  # of a state that was loaded, and got no sample yet
        return BLOCK_ELEMENTS if where.type == "cpu" else GPU_BLOCK_ELEMENTS

    def _held_on(self) -> torch.device:
        held = self._moments.mean if self._moments is not None else self._shift
        return torch.device("cpu") if held is None else held.device

    def _empty_block(self) -> None:
        assert self._block is not None
        if self._block.count:
            if self._moments is None:
                self._moments = self._no_moments()
            self._add_block(self._moments, self._block.rows_and_one())
            self._shift_to_mean()
            self._block.empty(self._capacity)

    def _add_block(self, moments: Moments, rows_and_one: Tensor) -> None:
        """Add shifted rows, which are overwritten, and so is one more that follows them.

        The first batch may be no measure of the rest, so each block counts around its own mean. The
        way from the mean so far to that is one more row: the farther it is, the more it is of the
        covariance itself, which bounds its rounding.
        """
        assert self._shift is not None
        rows = rows_and_one[:-1]
        # Sums in float64 take no longer where starting an operation takes longest.
        rest = rows.mean(dim=0, dtype=None if rows.is_cpu else torch.float64)
        rows.sub_(rest)
        offset = self._shift + rest.double() - moments.mean
        torch.mul(offset, moments.weight_of(len(rows)) ** 0.5, out=rows_and_one[-1])
        blocks = products(rows_and_one[None].transpose(1, 2))
        self._changes = True
        moments.add_with_way(len(rows), offset, blocks)
        self._changes = False

    def _add_maps(self, maps: Tensor) -> None:
        """Feature maps with many positions, (batch x features x positions)."""
        if not maps.is_cpu:
            self._add_all(maps)
            return
        self._empty_block()  # which holds rows less the shift that is about to move
        assert self._shift is not None
        self._moments = self._moments or self._no_moments()
        self._is_raw = add_maps(
            self._moments, maps, self._shift, self._block_elements, self._is_raw, self._change
        )
        self._changes = False
        self._came(maps.shape[0] * maps.shape[2])
        self._shift_to_mean()

    def _change(self) -> None:
        self._changes = True

    def _shift_to_mean(self) -> None:
        assert self._shift is not None
        assert self._moments is not None
        # A copy also where the dtype is the same: the mean moves on under rows less the shift.
        self._shift = self._moments.mean.to(self._shift.dtype, copy=True)

    def _no_moments(self) -> Moments:
        assert self._shift is not None
        return Moments.none(self.features, self._shift.device)

    @staticmethod
    def _no_rows(shift: Tensor) -> RowBlock:
        return RowBlock.none(len(shift), shift.dtype, shift.device)

    def _save(self, x: Tensor) -> None:
        held = self.saved_samples
        wanted = EMBEDDED_SAMPLES - (0 if held is None else len(held))
        if wanted > 0:
            new = x.reshape(-1, x.shape[-1])[:wanted].clone()
            self.saved_samples = new if held is None else torch.cat([held, new])
