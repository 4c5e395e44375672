"""Eigenvalues and directions of symmetric matrices, and random directions to compare them with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def eigenvalues(matrix: Tensor) -> Tensor:
    """The eigenvalues of a symmetric matrix, falling, with rounding below 0 set to 0."""
    try:
        values: Tensor = torch.linalg.eigvalsh(matrix)
    except RuntimeError:  # a GPU's solver gives up where LAPACK does not
        values = torch.linalg.eigvalsh(matrix.cpu()).to(matrix.device)
    return values.flip(0).clamp(min=0)


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
