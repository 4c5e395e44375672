"""The spectrum of what was gathered of a layer: exact, or its bounds where it cannot be."""

from __future__ import annotations

import math

import numpy as np

from delve.numerics.accumulator import Accumulator, sketch_of
from delve.numerics.covariance import TorchCovarianceMatrix
from delve.numerics.directions import Directions
from delve.numerics.memory import is_out_of_memory
from delve.numerics.sketch import Sketch
from delve.numerics.spectrum import Spectrum

_COLUMNS = 128  # of the sketch of a matrix that there is no memory to decompose
_ROUNDS = 4  # in which its directions follow the matrix's range


def spectrum_of(
    gathered: Accumulator,
    vectors: bool = False,
    threshold: float | None = None,
    in_place: bool = False,
) -> Spectrum:
    """The spectrum of what was gathered; the arguments are those of :meth:`Spectrum.of`."""
    if isinstance(gathered, Sketch):
        return _of_sketch(gathered)
    try:
        return Spectrum.of(gathered, vectors, threshold, in_place)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    return _of_sketch(_sketched(gathered))


def _of_sketch(sketch: Sketch) -> Spectrum:
    trace = sketch.trace()
    bounds = sketch.bounds() if math.isfinite(trace) else None
    return Spectrum(np.full(sketch.features, np.nan), sketch.samples, trace, bounds=bounds)


def _sketched(covariance: TorchCovarianceMatrix) -> Sketch:
    """A sketch of a matrix that is there, which takes next to no memory beside it."""
    features, device = covariance.features, covariance.device
    assert device is not None
    directions = Directions.random(features, min(features, _COLUMNS), device)
    for _ in range(_ROUNDS):
        sketch = Sketch(directions)
        sketch_of(covariance, sketch)
        sketch.bounds()
        directions = sketch.following or directions
    return sketch
