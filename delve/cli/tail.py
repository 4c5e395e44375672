"""The tail: the last layers in forward order that seem to add nothing.

Where a run has intrinsic dimensionalities, it is where they have dropped and stay low: so it is in
networks of any widths, and nothing is said of a gradual fall, as untrained ones have it. Where it
has saturation alone, it is where that stays far below the rest. ``examples/tail_hint.py`` counts
how often either is right.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from statistics import median

FAR_BELOW = 0.5  # of the median saturation of the layers before the tail
_FEWEST_BEFORE = 3  # layers
_FEWEST_IN_TAIL = 2

# Of dimensionalities: what a tail has at most of the layer before it, how far its own may be apart,
# and how many layers it takes.
DROPPED, _ALIKE = 0.6, 3.0
_FEWEST_BEFORE_DROP, _FEWEST_BEHIND_DROP = 2, 3

EXPLANATION = (
    "a hint, not a finding: such layers are read as unproductive (an input too small for the "
    "receptive field, or a network too deep), but in small experiments saturation did not always "
    "drop in an unproductive tail, and where samples are few it is low for that alone"
)
# By examples/tail_hint.py, seeds 0, 2 and 3
RECORD = "of 120 random networks this found 54 of 66 tails, and 3 that were none"
TAIL_LABEL = "tail, far below the rest (a hint; Richter et al., arXiv 2006.08679)"
SOURCE = "Richter et al., arXiv 2006.08679, 2102.01582, 2106.12307"
TUNNEL = "Masarczyk et al., The Tunnel Effect, arXiv 2305.19753"


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


def find_drop(
    layers: Sequence[str], dimensionalities: Mapping[str, Sequence[float]]
) -> tuple[str, ...]:
    """The longest run of at least three last hidden layers behind a drop, about as low as another.

    Each has at most 0.6 of the dimensionality of the layer before the run, and none has more than
    three times that of another. The very last layer is left out: it is as wide as its task. At
    least two layers must come before.

    Args:
        layers: In forward order.
        dimensionalities: The values of each layer that has any; the highest counts.

    Returns:
        The tail's layers in forward order, empty where there is none.
    """
    rows = [
        (layer, max(dimensionalities[layer])) for layer in layers if dimensionalities.get(layer)
    ]
    hidden = [value for layer, value in rows if layer != layers[-1]]
    for start in range(_FEWEST_BEFORE_DROP, len(hidden) - _FEWEST_BEHIND_DROP + 1):
        behind = hidden[start:]
        has_dropped = max(behind) <= DROPPED * hidden[start - 1]
        if has_dropped and max(behind) <= _ALIKE * min(behind):
            return tuple(layer for layer, _ in rows[start : len(hidden)])
    return ()


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
