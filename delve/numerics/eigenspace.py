"""Eigenvalues and directions of symmetric matrices, and random directions to compare them with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_ROUGH_FROM = 256  # features, from which float32 saves time
# How large the solver's backward error may be in float32, in roundings of the matrix's norm: 13 was
# the most seen, over spectra flat, falling as powers, exponential, with gaps and of low rank.
_ROUGH_ERROR = 32
_ROUNDING = 2.0**-24  # of float32


def eigenvalues(matrix: Tensor) -> Tensor:
    """The eigenvalues of a symmetric matrix, falling, with rounding below 0 set to 0."""
    try:
        values: Tensor = torch.linalg.eigvalsh(matrix)
    except RuntimeError:  # a GPU's solver gives up where LAPACK does not
        values = torch.linalg.eigvalsh(matrix.cpu()).to(matrix.device)
    return values.flip(0).clamp(min=0)


def rough_eigenvalues(matrix: Tensor, threshold: float) -> Tensor | None:
    """Eigenvalues by way of float32, in about half the time, where they count as exact ones do.

    Args:
        matrix: (features x features), float64, of finite numbers.
        threshold: The share of the trace for which leading eigenvalues are counted.

    Returns:
        (features,), falling; None where as many as reach the threshold may not be as many as of the
        exact ones. The sum of the k largest is off by sqrt(k) times the Frobenius norm of the
        solver's backward error at most (Ky Fan 1949, and Cauchy's inequality).
    """
    trace = matrix.trace()
    if len(matrix) < _ROUGH_FROM or threshold >= 1 or not trace > 0:
        return None
    shares = eigenvalues((matrix / trace).float()).double()
    shares /= shares.sum()
    explained = shares.cumsum(dim=0)
    k = int((explained < threshold).sum())  # these do not reach it, one more does
    doubt = _ROUGH_ERROR * _ROUNDING * float(shares.norm()) * (k + 1) ** 0.5
    below = float(explained[k - 1]) if k else 0.0
    if below + doubt < threshold < float(explained[k]) - doubt:
        return shares * trace
    return None


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
