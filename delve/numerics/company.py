"""What is known of a layer beside its covariance."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # with PyTorch, which the command does without
    from delve.numerics.covariance import TorchCovarianceMatrix
    from delve.numerics.tallies import Count, Maximum, PositiveSum, SequenceSpread


@dataclass(frozen=True)
class Company:
    """What is known of a layer beside its covariance, as far as a statistic has asked for it.

    Attributes:
        maximum: The largest value of each feature.
        positive: The sum of each feature's positive parts.
        spread: The variance within sequences, and between them.
        half: The covariance of every second batch.
        ceiling: The most directions in which the layer's outputs can vary, by its weight's shape.
        field: The share of the image that the layer's input sees.
        train_trace: The total variance that the same row found in training.
        masked: How many padded positions were left out.
    """

    maximum: Maximum | None = None
    positive: PositiveSum | None = None
    spread: SequenceSpread | None = None
    half: TorchCovarianceMatrix | None = dataclasses.field(default=None, repr=False)
    ceiling: int | None = None
    field: float | None = None
    train_trace: float | None = None
    masked: Count | None = None
