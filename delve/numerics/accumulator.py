"""What samples of a layer are added to: an exact covariance, or a sketch, which it can become."""

from __future__ import annotations

import torch

from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.sketch import Sketch
from delve.numerics.sketch_parts import PART_ROWS

Accumulator = TorchCovarianceMatrix | Sketch  # what samples of a layer are added to


def sketch_of(covariance: TorchCovarianceMatrix, sketch: Sketch) -> None:
    """Add what was gathered exactly to a sketch; nothing of that size is made for it."""
    moments, rows, shift = covariance.parts()
    if moments is not None and moments.samples:  # none, where memory ran out at the first ones
        sketch.add_scatter(moments.samples, moments.mean, moments.scatter)
    if rows is not None and shift is not None:
        for part in torch.split(rows, PART_ROWS):
            sketch.update(part.double() + shift)


def merged(one: Accumulator, other: Accumulator) -> Accumulator:
    """The samples of both, in one of the two: the sketch where one is a sketch.

    Raises:
        ValueError: Both are sketches, with different directions.
    """
    if isinstance(one, TorchCovarianceMatrix):
        if isinstance(other, TorchCovarianceMatrix):
            one.merge_moments(other.moments())
            return one
        one, other = other, one
    if isinstance(other, Sketch):
        one.merge(other)
    else:
        sketch_of(other, one)
    return one
