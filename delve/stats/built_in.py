"""The table of the statistics that come with Delve: each with its meaning, range and source."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from delve.stats import functions, ranks
from delve.stats.blind_spots import BLIND_SPOTS
from delve.stats.stat import Scale, Stat

if TYPE_CHECKING:  # with PyTorch, which the command does without
    from delve.numerics.spectrum import Spectrum

    Bound = Callable[[int, Spectrum, float], float | None]

LEADING = 5  # eigenvalues that `spectrum` gives as scalars

_FROM_ZERO = (0.0, math.inf)
_FROM_ONE = (1.0, math.inf)
_RICHTER = "Richter et al., arXiv 2006.08679"

_BOUNDED: tuple[tuple[str, Bound, tuple[float, float], Scale], ...] = (
    ("saturation", functions.bound_of_saturation, (0.0, 1.0), "linear"),
    ("intrinsic-dimensionality", functions.bound_of_dimensionality, _FROM_ONE, "auto"),
)

BUILT_IN = (
    Stat(
        "lsat",
        "saturation",
        functions.saturation,
        needs_eigenvalues=False,
        summary="intrinsic dimensionality over the number of features",
        label="saturation = intrinsic dimensionality / features",
        source=f"Shenk 2018; {_RICHTER}",
        limits=(0.0, 1.0),
        is_bounded_by_samples=True,
        is_bounded_by_features=True,
        scale="linear",
    ),
    Stat(
        "idim",
        "intrinsic-dimensionality",
        functions.intrinsic_dimensionality,
        needs_eigenvalues=False,
        summary="how many eigendirections explain the threshold of the variance",
        label="intrinsic dimensionality (dimensions)",
        source=_RICHTER,
        limits=_FROM_ONE,
        is_bounded_by_samples=True,
        is_bounded_by_features=True,
    ),
    Stat(
        "cov",
        "covariance-matrix",
        functions.covariance_matrix,
        is_array=True,
        needs_eigenvalues=False,
        summary="the population covariance, (features x features)",
    ),
    # Where samples are fewer than features, it is 0.
    Stat(
        "det",
        "covariance-determinant",
        functions.covariance_determinant,
        summary="the product of the eigenvalues, or generalised variance",
        title="Generalised variance",
        label="determinant of the covariance matrix",
        limits=_FROM_ZERO,
        is_bounded_by_samples=True,
    ),
    Stat(
        "trc",
        "covariance-trace",
        functions.covariance_trace,
        needs_eigenvalues=False,
        summary="the trace of the covariance matrix, or total variance",
        title="Total variance",
        label="trace of the covariance matrix",
        limits=_FROM_ZERO,
    ),
    Stat(
        "dtrc",
        "diagonal-trace",
        functions.diagonal_trace,
        summary="the sum of the eigenvalues, with rounding below 0 set to 0",
        title="Total variance",
        label="sum of the eigenvalues of the covariance matrix",
        limits=_FROM_ZERO,
    ),
    Stat(
        "embed",
        "embedded-sample",
        functions.embedded_samples,
        is_array=True,
        needs_samples=True,
        summary="the first samples on the two leading eigenvectors, (at most 1000 x 2)",
    ),
    Stat(
        "spectrum",
        "spectrum",
        functions.all_eigenvalues,
        is_array=True,
        summary="all eigenvalues, falling",
        title="Largest eigenvalues",
        label="eigenvalues of the covariance matrix (variance)",
        limits=_FROM_ZERO,
    ),
    *(
        Stat(
            "spectrum",
            f"spectrum-{n}",
            partial(functions.nth_eigenvalue, n),
            summary=f"eigenvalue {n}, counted from the largest",
            limits=_FROM_ZERO,
        )
        for n in range(1, LEADING + 1)
    ),
    # None of these is above the rank of the covariance, which is below the number of samples.
    Stat(
        "erank",
        "effective-rank",
        ranks.effective_rank,
        summary="the exponential of the entropy of the eigenvalues' shares",
        source="Roy and Vetterli, EUSIPCO 2007, on eigenvalues",
        limits=_FROM_ONE,
        is_bounded_by_samples=True,
        is_bounded_by_features=True,
    ),
    Stat(
        "pr",
        "participation-ratio",
        ranks.participation_ratio,
        needs_eigenvalues=False,
        summary="(sum of the eigenvalues)^2 / sum of squares, without the bias of few samples",
        source="Chun et al., arXiv 2509.26560",
        limits=_FROM_ONE,
        is_bounded_by_features=True,
    ),
    Stat(
        "srank",
        "stable-rank",
        ranks.stable_rank,
        summary="the sum of the eigenvalues over the largest",
        limits=_FROM_ONE,
        is_bounded_by_samples=True,
        is_bounded_by_features=True,
    ),
    Stat(
        "alpha",
        "power-law-exponent",
        ranks.power_law_exponent,
        summary="the exponent a of eigenvalue ~ rank^-a over the middle ranks",
        source="Agrawal et al., NeurIPS 2022; fitted as in Stringer et al., Nature 2019",
        limits=_FROM_ZERO,
    ),
    Stat(
        "n",
        "samples",
        functions.sample_count,
        needs_eigenvalues=False,
        summary="the number of samples that the statistics were taken over",
        limits=_FROM_ZERO,
    ),
    *BLIND_SPOTS,
)

# The ends between which a sketch says that a statistic lies. Who selects it gets them too.
BOUNDS = tuple(
    Stat(
        f"{name}-{'high' if end else 'low'}",
        f"{name}-{'high' if end else 'low'}",
        partial(function, end),
        needs_eigenvalues=False,
        summary=f"the {'most' if end else 'least'} that {name} can be, of a sketched layer",
        limits=limits,
        is_bounded_by_samples=True,
        is_bounded_by_features=True,
        scale=scale,
        bounds=name,
    )
    for name, function, limits, scale in _BOUNDED
    for end in (0, 1)
)
