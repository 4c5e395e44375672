"""The layer that learns the eigenspace of its input's features, and projects onto it."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from delve.base.checks import check_count
from delve.base.log import get_logger
from delve.capture.compiled import uncompiled
from delve.errors import ArgumentError
from delve.numerics.eigenspace import random_directions
from delve.numerics.spectrum import Spectrum
from delve.pca_layers.learning import EigenspaceLearner
from delve.stats.functions import intrinsic_dimensionality

logger = get_logger("delve.pca_layers")


class LinearPCALayer(EigenspaceLearner):
    """Projects onto the leading eigenvectors of the covariance of what it was shown in training.

    In training the output is the input, unchanged, and so are the gradients. All batches between
    two evaluations, usually those of one epoch, count; the first evaluation pass after training
    decomposes their covariance. Until something was learned, evaluation changes nothing either.

    The state dictionary holds all that was learned: a saved and loaded layer projects
    identically. It stays in float64 when the model is moved to half precision. DataParallel on
    several devices throws away its replicas, and with them what they would learn: there a layer
    learns nothing, and one warning says so. In a compiled model the layer itself runs uncompiled.

    In distributed training each process learns from its own samples and projects onto its own
    eigenspace. To have one eigenspace in all, load the first process's state dictionary into the
    others before the evaluation; ``torch.distributed.broadcast_object_list`` carries it there.
    Evaluate under ``torch.no_grad()``: with gradients DistributedDataParallel copies the first
    process's eigenspace to the others from the second pass on.

    Shapes: ``(..., in_features)`` to the same, or to ``(..., in_dim)`` if ``keepdim`` is False.
    The output has the input's dtype; half precision is projected in float32.

    Source: Richter et al., arXiv 2006.08679.

    Args:
        in_features: How many features the input has.
        threshold: The share of the variance to keep. The fewest leading eigenvectors that
            explain it are used, at least one; all of them from a threshold above 1.
        keepdim: False gives the coordinates along the eigenvectors, measured from the mean if
            ``centering``, instead of the projection in the input space.
        verbose: Whether each decomposition is logged, as INFO to the logger ``delve.pca_layers``.
        gradient_epoch_start: Kept as ``gradient_epoch``, and without effect, as in delve 0.1:
            gradients pass unchanged in every epoch.
        centering: True takes the covariance around the mean and projects around the mean; False
            does both around zero.

    Attributes:
        mean: (in_features,), float64: the mean of the last epoch's samples.
        eigenvalues: (in_features,), float64, falling: the variance along each eigenvector.
        eigenvectors: (in_features x in_features), float64, one a column. The largest component
            of each is positive.
        random_directions: (in_features x in_dim), float64, in place of the eigenvectors; or None.
        fs_dim: The dimension of the input space, ``in_features``.
        pca_computed: Whether the eigenvectors are those of all that was learned.
        epoch: How many times training was followed by an evaluation.
        name: ``pca0``, ``pca1``, ... in the order of construction; used in messages.

    Raises:
        ArgumentError: ``in_features`` is not a whole number of at least 1, or ``threshold`` is not
            positive.
    """

    num: ClassVar[int] = 0  # of layers constructed
    _feature_axis: ClassVar[int] = -1

    def __init__(
        self,
        in_features: int,
        threshold: float = 0.99,
        keepdim: bool = True,
        verbose: bool = False,
        gradient_epoch_start: int = 20,
        centering: bool = True,
    ) -> None:
        super().__init__(check_count("the number of features of a PCA layer", in_features))
        self.keepdim = keepdim
        self.verbose = verbose
        self.gradient_epoch = gradient_epoch_start
        self.name = f"pca{LinearPCALayer.num}"
        LinearPCALayer.num += 1
        self.threshold = threshold
        self.centering = centering

    @property
    def threshold(self) -> float:
        """The share of the variance to keep. A new one counts from the next evaluation pass.

        Setting it takes random directions out again.
        """
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        self._threshold = _checked_threshold(threshold)
        self.random_directions = None

    @property
    def centering(self) -> bool:
        """Whether the mean is the origin. A change counts from the next evaluation pass.

        Setting it takes random directions out again.
        """
        return self._centering

    @centering.setter
    def centering(self, centering: bool) -> None:
        self._centering = bool(centering)
        self.pca_computed = self.seen_samples == 0
        self.random_directions = None

    @property
    def in_dim(self) -> int:
        """The dimension of the eigenspace; all of ``fs_dim`` until something was learned."""
        self._update_eigenspace()
        if self.seen_samples == 0 or self.threshold > 1:
            return self.fs_dim
        spectrum = Spectrum(self.eigenvalues.cpu().numpy(), self._samples)
        needed = intrinsic_dimensionality(spectrum, self.threshold)
        return self.fs_dim if math.isnan(needed) else int(needed)

    @property
    def sat(self) -> float:
        """``in_dim`` in percent of ``fs_dim``."""
        return round(100 * self.in_dim / self.fs_dim, 4)

    @property
    def reduced_transformation_matrix(self) -> Tensor:
        """The directions that are kept, (in_features x in_dim), float32."""
        return self._directions().float()

    @property
    def transformation_matrix(self) -> Tensor:
        """The projection, (in_features x in_features), float32, symmetric."""
        directions = self._directions()
        return (directions @ directions.T).float()

    def is_floating_point(self) -> bool:
        """Always False: the layer has no dtype of its own, it follows its input."""
        return False

    def inject_random_directions(self) -> None:
        """Project onto ``in_dim`` random directions, until something is learned or changed."""
        directions = torch.from_numpy(random_directions(self.fs_dim, self.in_dim))
        self.random_directions = directions.to(self.eigenvectors)

    @uncompiled  # what it learned is no constant, for which a graph would have to be made anew
    def forward(self, x: Tensor) -> Tensor:
        """The input in training; its projection in evaluation.

        Raises:
            ArgumentError: The input has another number of features than the layer.
        """
        if x.shape[self._feature_axis] != self.fs_dim:
            raise ArgumentError(
                f"{self.name} was made for {self.fs_dim} features and got "
                f"{x.shape[self._feature_axis]}, in an input of shape {tuple(x.shape)}"
            )
        if self.training:
            self._learn(x)
            return x
        self._end_epoch()
        return self._project(x) if self.seen_samples else x

    def extra_repr(self) -> str:
        """What ``print(model)`` shows of the layer."""
        return f"{self.fs_dim}, threshold={self.threshold:g}, centering={self.centering}"

    def _directions(self) -> Tensor:
        """What is projected onto, (in_features x in_dim), float64."""
        self._update_eigenspace()
        if self.random_directions is not None:
            return self.random_directions
        return self.eigenvectors[:, : self.in_dim]

    def _project(self, x: Tensor) -> Tensor:
        precise = torch.promote_types(x.dtype, torch.float32)
        directions = self._directions().to(precise)
        origin = self.mean.to(precise) if self.centering else None
        with torch.autocast(x.device.type, enabled=False):
            rows = x.movedim(self._feature_axis, -1).to(precise)
            result = (rows if origin is None else rows - origin) @ directions
            if self.keepdim:
                result = result @ directions.T
                result = result if origin is None else result + origin
        return result.to(x.dtype).movedim(-1, self._feature_axis).contiguous()


def _checked_threshold(threshold: float) -> float:
    share = float(threshold)
    if not share > 0:
        raise ArgumentError(
            "the threshold of a PCA layer must be positive: the share of the variance to keep, "
            f"for example 0.99, or more than 1 to keep everything; not {threshold!r}"
        )
    return share
