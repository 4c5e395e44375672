"""The same for feature maps, whose filters are the features."""

from __future__ import annotations

from torch import Tensor, nn

from delve.base.checks import check_count
from delve.pca_layers.linear import LinearPCALayer


class Conv2DPCALayer(LinearPCALayer):
    """Projects feature maps onto the leading eigenvectors of the covariance of their filters.

    Every position of every map is a sample of ``in_filters`` features. All else, and every
    argument that is not described here, is as in :class:`LinearPCALayer`.

    Shapes: ``(batch, in_filters, height, width)`` to the same; ``batch`` may be left out.

    Args:
        in_filters: How many filters the input has.
        threshold: The share of the variance to keep.
        verbose: Whether each decomposition is logged.
        gradient_epoch_start: Without effect.
        centering: Whether the mean is the origin.
        downsampling: The height and width, in positions, that maps are reduced to (by nearest
            neighbour) before the layer learns from them; a smaller map is taken as it is. It
            saves time, and changes nothing but what is learned. None takes every position.

    Raises:
        ArgumentError: ``in_filters`` or ``downsampling`` is not a whole number of at least 1, or
            ``threshold`` is not positive.
    """

    _feature_axis = -3

    def __init__(
        self,
        in_filters: int,
        threshold: float = 0.99,
        verbose: bool = True,
        gradient_epoch_start: int = 20,
        centering: bool = False,
        downsampling: int | None = None,
    ) -> None:
        super().__init__(
            in_filters,
            threshold=threshold,
            verbose=verbose,
            gradient_epoch_start=gradient_epoch_start,
            centering=centering,
        )
        if downsampling is not None:
            downsampling = check_count("the downsampling of a PCA layer", downsampling)
        self.downsampling = downsampling

    def _samples_of(self, x: Tensor) -> Tensor:
        maps = x if x.dim() == 4 else x.unsqueeze(0)
        if self.downsampling is not None:
            height, width = (min(side, self.downsampling) for side in maps.shape[2:])
            maps = nn.functional.interpolate(maps, size=(height, width), mode="nearest")
        return maps.flatten(2).transpose(1, 2)
