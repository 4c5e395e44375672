"""What a set of samples adds up to, and the float32 products that it is made from."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

# BLAS adds up few features one sample after the other, with too much rounding for float32, also in
# slices: of samples that have two values each, 64 at a time were off by 1e-6.
_DOUBLE_BELOW = 64
# The lower triangle alone is computed, in 4 to 8 blocks, at least and preferably so wide.
_LEAST_WIDTH, _WIDTH = 32, 128
_ADDED = 32  # products that are added up in float32, one after the other
_HALVED_FROM = 1024  # features on other devices, where each block costs a start
# The mean square of a feature below which squares that vanish from float32's range would be more
# than a rounding of the largest eigenvalue: the smallest normal number over half an epsilon.
_LEAST_SQUARE = torch.finfo(torch.float32).tiny / (torch.finfo(torch.float32).eps / 2)

Block = tuple[int, int, Tensor]  # rows from, to, and their products with the columns up to there


@dataclass
class Moments:
    """What a set of samples adds up to.

    Attributes:
        samples: How many there are.
        mean: (features,), float64.
        scatter: (features x features), float64: the sum over samples of (x - mean)(x - mean)'.
            Only the lower triangle is kept up.
    """

    samples: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def none(cls, features: int, device: torch.device) -> Moments:
        """The moments of no samples."""
        mean = torch.zeros(features, dtype=torch.float64, device=device)
        return cls(0, mean, torch.zeros(features, features, dtype=torch.float64, device=device))

    def merge(self, other: Moments) -> None:
        """Add the moments of another set of samples."""
        whole = [(0, len(other.mean), other.scatter)]
        self.add(other.samples, other.mean, torch.zeros_like(other.mean), whole)

    def add(self, samples: int, centre: Tensor, rest: Tensor, blocks: Iterable[Block]) -> None:
        """Add samples by their products (Chan, Golub and LeVeque 1979).

        Args:
            samples: How many.
            centre: (features,): what was taken off them before the products, near their mean.
            rest: (features,): the mean that they had left then.
            blocks: Of the lower triangle of their products, as :func:`products` gives them.
        """
        self.add_products(blocks)
        self.centre_products(samples, centre, rest)

    def add_around_mean(self, samples: int, rest: Tensor, blocks: Iterable[Block]) -> None:
        """Add samples by their products around the mean so far.

        Args:
            samples: How many.
            rest: (features,), float64: the mean that they had left then.
            blocks: Of the lower triangle of their products.
        """
        self.add_products(blocks)
        self.samples += samples
        self.scatter.addr_(rest, rest, alpha=-(samples**2) / self.samples)
        self.mean.add_(rest, alpha=samples / self.samples)

    def add_with_way(self, samples: int, offset: Tensor, blocks: Iterable[Block]) -> None:
        """Add samples by products around their own mean, with the way to it as one more sample.

        Args:
            samples: How many, without that.
            offset: (features,), float64: their mean less the mean so far.
            blocks: Of the lower triangle of their products and those of the offset times the root
                of :meth:`weight_of`.
        """
        self.add_products(blocks)
        self.samples += samples
        self.mean.add_(offset, alpha=samples / self.samples)

    def weight_of(self, samples: int) -> float:
        """How often the way from the mean so far to that of more samples counts."""
        return self.samples * samples / (self.samples + samples)

    def add_products(self, blocks: Iterable[Block]) -> None:
        """Add products, of which :meth:`centre_products` has to follow."""
        for begin, end, product in blocks:
            self.scatter[begin:end, :end].add_(product)  # as float64, without a copy

    def centre_products(self, samples: int, centre: Tensor, rest: Tensor) -> None:
        """Have the samples whose products were added count around the mean of all."""
        rest = rest.double()
        total = self.samples + samples
        offset = centre.double() + rest - self.mean
        left = torch.stack([offset * (self.samples * samples / total), rest * -samples])
        self.scatter.addmm_(left.T, torch.stack([offset, rest]))
        self.mean.add_(offset, alpha=samples / total)
        self.samples = total

    def to(self, device: torch.device) -> Moments:
        """The same on a device, where they may be already."""
        return Moments(self.samples, self.mean.to(device), self.scatter.to(device))

    def copy(self) -> Moments:
        """An independent copy."""
        return Moments(self.samples, self.mean.clone(), self.scatter.clone())

    def covariance(self) -> Tensor:
        """The population covariance, (features x features), float64."""
        lower = self.scatter.tril()
        return (lower + lower.tril(-1).T) / self.samples


def packed(scatter: Tensor) -> Tensor:
    """The lower triangle of (features x features), row by row: (features (features + 1) / 2,)."""
    return torch.cat([row[: number + 1] for number, row in enumerate(scatter)])


def unpacked(triangle: Tensor, features: int) -> Tensor:
    """What :func:`packed` has packed, with zeros above the diagonal."""
    scatter = triangle.new_zeros(features, features)
    parts = torch.split(triangle, list(range(1, features + 1)))
    for number, (row, part) in enumerate(zip(scatter, parts, strict=True)):
        row[: number + 1] = part
    return scatter


def products(maps: Tensor) -> list[Block]:
    """The features' products with each other, summed over batch and positions.

    Numbers whose squares leave the range of float32 (beyond about 1e18, or mostly below 1e-15) are
    multiplied in float64 on the CPU. On other devices they are not, where features are 64 or more:
    to look at the products would make the program wait for each.

    Args:
        maps: (batch x features x positions).

    Returns:
        Blocks of the lower triangle, each with its rows: from, to, and (rows x columns to there).
    """
    return products_and_squares(maps)[0]


def products_and_squares(maps: Tensor) -> tuple[list[Block], Tensor | None]:
    """As :func:`products`, with the diagonal, float64, where it costs no wait to look at it."""
    with exact_products(maps.device):
        blocks = _lower_triangle(maps)
        if not maps.is_cpu or maps.dtype is not torch.float32:
            return blocks, None
        squares = _diagonal(blocks)
        if _leave_range(float(squares.sum()), maps):
            blocks = _lower_triangle(maps.double())
            squares = _diagonal(blocks)
        return blocks, squares


def _diagonal(blocks: list[Block]) -> Tensor:
    parts = [(product[:, begin:] if begin else product).diagonal() for begin, _, product in blocks]
    return (torch.cat(parts) if len(parts) > 1 else parts[0]).double()


def _leave_range(squares: float, maps: Tensor) -> bool:
    """Whether squares, of this sum, may have been too large or too small for float32.

    No product of two features exceeds the larger of their squares: these tell of all products.
    """
    leave = squares == math.inf or squares < _LEAST_SQUARE * maps.numel()
    return leave and bool(maps.any())  # what does not vary at all is right as it is


def _lower_triangle(maps: Tensor) -> list[Block]:
    features = maps.shape[1]
    if features < _DOUBLE_BELOW:
        maps = maps.double()
    width = _width(maps)
    blocks = []
    for begin in range(0, features, width):
        end = min(begin + width, features)
        blocks.append((begin, end, _summed(maps[:, begin:end], maps[:, :end].transpose(1, 2))))
    return blocks


def _summed(left: Tensor, right: Tensor) -> Tensor:
    """The sum over the batch of products, (batch x rows x positions) times (... x columns)."""
    if len(left) == 1:
        return left[0] @ right[0]
    if not left.is_cpu:
        return (left @ right).sum(dim=0, dtype=torch.float64)
    sums: Tensor | None = None
    for rows, columns in zip(torch.split(left, _ADDED), torch.split(right, _ADDED), strict=True):
        nothing = left.new_empty(rows.shape[1], columns.shape[2])
        product = torch.addbmm(nothing, rows, columns, beta=0)  # holds no product of each image
        sums = product if sums is None else sums.double().add_(product)
    assert sums is not None
    return sums


def _width(maps: Tensor) -> int:
    """Of the blocks of the lower triangle, in features."""
    features = maps.shape[1]
    if not maps.is_cpu:
        return features if features < _HALVED_FROM else -(-features // 2)
    blocks = min(max(4, features // _WIDTH), 8, max(1, features // _LEAST_WIDTH))
    return -(-features // blocks)


@contextlib.contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Switch off what would demote float32 products: autocast, TF32 and bfloat16 inside BLAS."""
    get, change, exact = _product_precision(device)
    before = get()
    if before != exact:
        change(exact)
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        if before != exact:
            change(before)


def _product_precision(
    device: torch.device,
) -> tuple[Callable[[], str], Callable[[str], None], str]:
    """How the precision of float32 products is read and changed, and what it must be."""
    backends = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    backend, name = getattr(backends, "matmul", None), "fp32_precision"
    if hasattr(backend, name):
        return partial(getattr, backend, name), partial(setattr, backend, name), "ieee"
    # Before PyTorch 2.9; since then this raises where a user has set the other.
    return torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"
