"""The tail: the last layers in forward order whose saturation stays far below the rest."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from statistics import median

FAR_BELOW = 0.5  # of the median saturation of the layers before the tail
_FEWEST_BEFORE = 3  # layers
_FEWEST_IN_TAIL = 2

EXPLANATION = (
    "a hint, not a finding: such layers are read as unproductive (an input too small for the "
    "receptive field, or a network too deep), but in small experiments saturation did not always "
    "drop in an unproductive tail, and where samples are few it is low for that alone"
)
TAIL_LABEL = "tail, far below the rest (a hint; Richter et al., arXiv 2006.08679)"
SOURCE = "Richter et al., arXiv 2006.08679, 2102.01582, 2106.12307"


def find_tail(layers: Sequence[str], saturations: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """The longest run of at least two last layers that all lie below half of the rest's median.

    The very last layer may stand above: that of a classifier is as wide as there are classes and
    is saturated by its task. At least three layers must come before the tail.

    Args:
        layers: In forward order.
        saturations: The values of each layer that has any, for example in training and
            evaluation; the highest counts, so that a tail is low in all of them.

    Returns:
        The tail's layers in forward order, empty where there is none.
    """
    rows = [(layer, max(saturations[layer])) for layer in layers if saturations.get(layer)]
    return _longest_tail(rows) or _longest_tail(rows[:-1])


def stretches(layers: Sequence[str], tail: Collection[str]) -> list[list[str]]:
    """The tail's layers; those between which others lie, without a finite value, are apart."""
    grouped = itertools.groupby(layers, lambda layer: layer in tail)
    return [list(group) for is_tail, group in grouped if is_tail]


def _longest_tail(rows: Sequence[tuple[str, float]]) -> tuple[str, ...]:
    for start in range(_FEWEST_BEFORE, len(rows) - _FEWEST_IN_TAIL + 1):
        limit = FAR_BELOW * median(value for _, value in rows[:start])
        if all(value < limit for _, value in rows[start:]):
            return tuple(layer for layer, _ in rows[start:])
    return ()
