"""The spectrum of what was gathered of a layer: exact, or its bounds where it cannot be."""

from __future__ import annotations

from delve.numerics.accumulator import Accumulator
from delve.numerics.company import Company
from delve.numerics.layer_spectrum import LayerSpectrum
from delve.numerics.sketch import Sketch
from delve.numerics.sketched_spectrum import SketchedSpectrum


def spectrum_of(
    gathered: Accumulator,
    vectors: bool = False,
    threshold: float | None = None,
    in_place: bool = False,
    company: Company | None = None,
) -> LayerSpectrum | SketchedSpectrum:
    """The spectrum of what was gathered; the arguments are those of :class:`LayerSpectrum`."""
    if isinstance(gathered, Sketch):
        return SketchedSpectrum.of_sketch(gathered, company)
    return LayerSpectrum(gathered, vectors, threshold, company, in_place)
