"""What a PCA layer learns: the eigenspace of its input's features, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from delve.base.log import get_logger
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.eigenspace import eigenspace
from delve.numerics.moments import Moments

logger = get_logger("delve.pca_layers")


class EigenspaceLearner(nn.Module):
    """Learns from the batches between two evaluations, and keeps what it learned in its state.

    Args:
        fs_dim: How many features the samples have.
    """

    mean: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor
    random_directions: Tensor | None
    _scatter: Tensor
    name: str
    verbose: bool
    in_dim: Any  # a property of the layer
    _threshold: float
    _centering: bool

    def __init__(self, fs_dim: int) -> None:
        super().__init__()
        self.fs_dim = fs_dim
        self.epoch = 0
        self.pca_computed = True
        self._warned: set[str] = set()  # which replicas share
        # Samples go into the stream, and from there into the moments of the epoch, which the
        # buffers are a copy of: DistributedDataParallel overwrites buffers with those of another
        # process, which has other samples.
        self._stream: TorchCovarianceMatrix | None = None
        self._moments: Moments | None = None
        self._samples = 0
        self._is_epoch_open = False
        self.register_buffer("mean", torch.zeros(self.fs_dim, dtype=torch.float64))
        self.register_buffer("eigenvalues", torch.zeros(self.fs_dim, dtype=torch.float64))
        self.register_buffer("eigenvectors", torch.eye(self.fs_dim, dtype=torch.float64))
        self.register_buffer("_scatter", torch.zeros_like(self.eigenvectors))
        self.register_buffer("random_directions", None)

    @property
    def seen_samples(self) -> int:
        """How many samples are learned from: those of the current epoch, or of the last."""
        return self._samples + (self._stream.samples if self._stream else 0)

    def _learn(self, x: Tensor) -> None:
        if getattr(self, "_is_replica", False):  # which DataParallel throws away after the pass
            self._warn_of_replicas()
            return
        if x.numel() == 0:
            return
        if not self._is_epoch_open:
            self._begin_epoch()
        if self._stream is None:
            self._stream = TorchCovarianceMatrix(device=self.mean.device)
        self._stream.update(self._samples_of(x))
        self.pca_computed = False

    def _samples_of(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.fs_dim)

    def _begin_epoch(self) -> None:
        self._is_epoch_open = True
        self._samples = 0
        # Later passes change it, which inference mode would forbid them.
        with torch.inference_mode(False):
            self._moments = Moments.none(self.fs_dim, self.mean.device)

    def _end_epoch(self) -> None:
        if self._is_epoch_open:
            self._is_epoch_open = False
            self.epoch += 1
        self._update_eigenspace()
        self._moments = None

    def _settle(self) -> None:
        """Move what is in the stream into the moments, and a copy of them into the buffers."""
        if self._moments is None:
            return
        with torch.inference_mode(False):
            moments = self._moments.to(self.mean.device)
            if self._stream:
                moments.merge(self._stream.moments().to(self.mean.device))
            self.mean.copy_(moments.mean)
            self._scatter.copy_(moments.scatter)
        self._stream, self._moments, self._samples = None, moments, moments.samples

    def _update_eigenspace(self) -> None:
        if self.pca_computed:
            return
        self._settle()
        # New tensors: the graph of an earlier pass may still need the old ones. They are ordinary
        # ones also in inference mode, or no later graph could hold them.
        with torch.inference_mode(False):
            self.eigenvalues, self.eigenvectors = self._eigenspace()
        self.random_directions = None
        self.pca_computed = True
        self._report()

    def _eigenspace(self) -> tuple[Tensor, Tensor]:
        covariance = Moments(self._samples, self.mean, self._scatter).covariance()
        if not self._centering:
            covariance.addr_(self.mean, self.mean)
        if not covariance.isfinite().all():
            return self.eigenvalues * torch.nan, covariance * torch.nan
        values, vectors = eigenspace(covariance)
        return values, vectors.contiguous()  # as loaded ones are, so that both give the same bits

    def _report(self) -> None:
        if not self.eigenvalues.isfinite().all():
            logger.warning(
                "%s: its input was not finite in training, so there is no eigenspace, and "
                "evaluation gives NaN until the end of an epoch without such input",
                self.name,
            )
        elif self.verbose:
            logger.info(
                "%s: %d of %d directions explain %g of the variance of %d samples",
                *(self.name, self.in_dim, self.fs_dim, self._threshold, self._samples),
            )

    def _warn_of_replicas(self) -> None:
        if "replicas" not in self._warned:
            self._warned.add("replicas")
            logger.warning(
                "%s learns nothing: it is inside nn.DataParallel, which throws away its replicas "
                "after each pass; use DistributedDataParallel, or one device",
                self.name,
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow the model to another device, but not to another dtype."""

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        inherited: Callable[..., Any] = super()._apply
        inherited(move, recurse)
        return self

    # Single values stay outside the buffers, because reading one from a GPU makes the program
    # wait for it. In the state dictionary they are a tensor: much code expects nothing else there.

    def get_extra_state(self) -> Tensor:
        """What the state dictionary holds beside the buffers."""
        flags = (self._centering, self._is_epoch_open, self.pca_computed)
        values = (self._threshold, self._samples, self.epoch, *flags)
        return torch.tensor(values, dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Take over what :meth:`get_extra_state` gave."""
        self._threshold, samples, epoch, *flags = state.tolist()
        self._samples, self.epoch = int(samples), int(epoch)
        self._centering, self._is_epoch_open, self.pca_computed = map(bool, flags)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        self._settle()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        self._stream = None
        directions = state_dict.get(f"{prefix}random_directions")
        self.random_directions = (
            None if directions is None else self.eigenvectors.new_empty(directions.shape)
        )
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._moments = None
        if self._is_epoch_open:
            with torch.inference_mode(False):
                self._moments = Moments(self._samples, self.mean, self._scatter).copy()
