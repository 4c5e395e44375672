"""What a set of samples adds up to, and the float32 products that it is made from."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

# BLAS adds up few features one sample after the other, with too much rounding for float32.
_DOUBLE_BELOW = 64
_TRIANGLE_FROM = 128  # features, from which computing the lower triangle alone pays
_TRIANGLE_BLOCKS = 4
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


def parts_of(maps: Tensor, most: int) -> Iterator[Tensor]:
    """Split maps, (batch x features x positions), into parts of at most so many elements."""
    features, positions = maps.shape[1:]
    for images in torch.split(maps, max(1, most // (features * positions))):
        yield from torch.split(images, most // features, dim=2)


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
    with exact_products(maps.device):
        blocks = _lower_triangle(maps)
        return _lower_triangle(maps.double()) if _leave_range(blocks, maps) else blocks


def _leave_range(blocks: list[Block], maps: Tensor) -> bool:
    """Whether squares may have been too large or too small for float32, where that costs little."""
    if not maps.is_cpu or blocks[0][2].dtype is not torch.float32:
        return False
    # No product of two features exceeds the larger of their squares: these tell of all products.
    squares = 0.0
    for begin, _, product in blocks:
        squares += (product[:, begin:] if begin else product).trace().item()
    leave = squares == math.inf or squares < _LEAST_SQUARE * maps.numel()
    return leave and bool(maps.any())  # what does not vary at all is right as it is


def _lower_triangle(maps: Tensor) -> list[Block]:
    features = maps.shape[1]
    if features < _DOUBLE_BELOW:
        maps = maps.double()
    width = features if features < _TRIANGLE_FROM else -(-features // _TRIANGLE_BLOCKS)
    blocks = []
    for begin in range(0, features, width):
        end = min(begin + width, features)
        product = maps[:, begin:end] @ maps[:, :end].transpose(1, 2)
        blocks.append((begin, end, product.sum(dim=0) if len(product) > 1 else product[0]))
    return blocks


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
