"""What a sketch tells of a layer's spectrum: its trace and mean, and bounds of the eigenvalues."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from delve.numerics.accumulator import sketch_of
from delve.numerics.company import Company
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.directions import Directions
from delve.numerics.sketch import Sketch
from delve.numerics.spectrum import Spectrum

_COLUMNS = 128  # of the sketch of a matrix that there is no memory to decompose
_ROUNDS = 4  # in which its directions follow the matrix's range


@dataclass(frozen=True)
class SketchedSpectrum(Spectrum):
    """A spectrum of which bounds are known.

    Attributes:
        mean: (features,): the mean of the samples.
        company: What else is known of the layer.
    """

    mean: np.ndarray | None = None
    company: Company | None = None

    @classmethod
    def of_sketch(cls, sketch: Sketch, company: Company | None = None) -> SketchedSpectrum:
        """What a sketch of at least one sample tells."""
        trace = sketch.trace()
        bounds = sketch.bounds() if math.isfinite(trace) else None
        return cls(
            np.full(sketch.features, np.nan),
            sketch.samples,
            trace,
            bounds=bounds,
            mean=sketch.mean().cpu().numpy(),
            company=company,
        )

    def know_training(self, trace: float) -> None:
        """Learn the total variance that the same row found in training."""
        vars(self)["company"] = replace(self.company or Company(), train_trace=trace)


def sketched(covariance: TorchCovarianceMatrix) -> Sketch:
    """A sketch of a matrix that is there, which takes next to no memory beside it."""
    features = covariance.features
    device = covariance.device or torch.device("cpu")
    directions = Directions.random(features, min(features, _COLUMNS), device)
    for _ in range(_ROUNDS):
        sketch = Sketch(directions)
        sketch_of(covariance, sketch)
        sketch.bounds()
        directions = sketch.following or directions
    return sketch
