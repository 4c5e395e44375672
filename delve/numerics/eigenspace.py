"""Eigenvalues and directions of symmetric matrices, and random directions to compare them with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_ROUGH_FROM = 256  # features, from which float32 saves time
# How large the solver's backward error may be in float32, in roundings of the matrix's norm: by
# features, and at least. The most seen was 21 in up to 1024 features, 51 in 2048, 60 in 4096,
# over spectra flat, falling as powers, exponential, with gaps and of low rank.
_ROUGH_ERROR_PER_FEATURE, _LEAST_ROUGH_ERROR = 1 / 16, 64
_ROUNDING = 2.0**-24  # of float32


def eigenvalues(matrix: Tensor) -> Tensor:
    """The eigenvalues of a symmetric matrix, falling, with rounding below 0 set to 0."""
    return _falling(matrix).clamp(min=0)


def rough_eigenvalues(matrix: Tensor, threshold: float) -> Tensor | None:
    """Eigenvalues by way of float32, in about half the time, where they count as exact ones do.

    Args:
        matrix: (features x features), float64, of finite numbers.
        threshold: The share of the trace for which leading eigenvalues are counted.

    Returns:
        (features,), none below 0, falling up to where the threshold is reached; their sum is the
        trace. None where as many as reach the threshold may not be as many as of the exact ones.
        The sum of the k largest is off by sqrt(k) times the Frobenius norm of the solver's backward
        error at most (Ky Fan 1949, and Cauchy's inequality).
    """
    trace = matrix.trace()
    if len(matrix) < _ROUGH_FROM or threshold >= 1 or not trace > 0:
        return None
    # Of the exact trace, and with what is below 0: the sum of those clamped would be too large by
    # the rounding of every direction without variance.
    shares = _falling((matrix / trace).float()).double()
    explained = shares.cumsum(dim=0)
    k = int((explained < threshold).sum())  # these do not reach it, one more does
    if k == len(shares):
        return None
    allowed = max(_LEAST_ROUGH_ERROR, _ROUGH_ERROR_PER_FEATURE * len(shares))
    doubt = allowed * _ROUNDING * float(shares.norm()) * (k + 1) ** 0.5
    below = float(explained[k - 1]) if k else 0.0
    if not below + doubt < threshold < float(explained[k]) - doubt:
        return None
    # What follows adds up to what is left of the trace, and so counts as these shares did.
    rest = _with_sum(shares[k + 1 :], 1 - float(explained[k]))
    return torch.cat([shares[: k + 1], rest]) * trace


def _with_sum(falling: Tensor, total: float) -> Tensor:
    """The numbers next to these that are not below 0 and have this sum (Held et al. 1974)."""
    if total <= 0 or not len(falling):
        return torch.zeros_like(falling)
    counts = torch.arange(1, len(falling) + 1, device=falling.device)
    excess = (falling.cumsum(dim=0) - total) / counts
    return (falling - excess[(falling > excess).sum() - 1]).clamp(min=0)


def _falling(matrix: Tensor) -> Tensor:
    """The eigenvalues of a symmetric matrix, falling."""
    try:
        values: Tensor = torch.linalg.eigvalsh(matrix)
    except RuntimeError:  # a GPU's solver gives up where LAPACK does not
        values = torch.linalg.eigvalsh(matrix.cpu()).to(matrix.device)
    return values.flip(0)


def eigenspace(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues as :func:`eigenvalues`, and eigenvectors, one a column, of settled sign."""
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except RuntimeError:
        values, vectors = (part.to(matrix.device) for part in torch.linalg.eigh(matrix.cpu()))
    return values.flip(0).clamp(min=0), settled(vectors.flip(1))


def settled(columns: Tensor) -> Tensor:
    """Columns with the sign that makes the component of greatest size positive."""
    greatest = columns.gather(0, columns.abs().argmax(dim=0, keepdim=True))
    return columns * torch.where(greatest < 0, -1.0, 1.0)


def random_directions(dim: int, count: int) -> np.ndarray:
    """Random orthonormal columns, (dim x count), uniform over all such (Haar's measure).

    From NumPy's global random state. Source: Mezzadri 2007, Notices of the AMS 54(5), section 5.
    """
    columns, triangle = np.linalg.qr(np.random.standard_normal((dim, count)))
    # The signs that QR leaves open follow the algorithm, not chance, unless they are set so.
    oriented: np.ndarray = columns * np.copysign(1.0, triangle.diagonal())
    return oriented
