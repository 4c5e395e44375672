"""What may be wrong with a network: each kind looks at the first and the last row of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

from delve.records import shortened
from delve.stats.note import Note, Row

_FEATURES_DEAD, _DEAD_ROSE = 0.5, 0.25
_RATIO = 3.0  # of the variances in evaluation and in training
_DEPTH = 1e4  # of the variances of two layers
_ALIKE, _ALIKE_AND_LESS, _LESS = 0.98, 0.85, 1 / 3
_GAP = 0.1  # of the saturation
_AT_CEILING, _FAR_BELOW = 0.99, 0.5


def constant(_: Row, now: Row) -> Iterator[Note]:
    """Layers whose outputs never vary."""
    dead, traces = now.of("dead-share"), now.of("covariance-trace")
    still = [
        layer for layer in now.layers if dead.get(layer) == 1 or traces.get(layer, math.nan) == 0
    ]
    if still:
        yield Note(
            "constant",
            tuple(still),
            f"the outputs of {_named(still)} never vary: {_them(still)} the same whatever the "
            "input, so nothing behind can learn from the data.",
            "Lu et al., arXiv 1903.06733",
        )


def dead(before: Row, now: Row) -> Iterator[Note]:
    """Many features that never vary, or never exceed 0, or ever more of them."""
    last = now.layers[-1:]  # no activation is behind it, so what it gives may well be below 0
    for stat, told in (
        ("dead-share", "never vary"),
        ("dormant-share", "never exceed 0, so that a ReLU behind them would be dead"),
    ):
        values, earlier = now.of(stat), before.of(stat)
        found = {
            layer: value
            for layer, value in values.items()
            if value < 1 or stat == "dormant-share"
            if layer not in last or stat == "dead-share"
            if value >= _FEATURES_DEAD or value - earlier.get(layer, value) >= _DEAD_ROSE
        }
        if found:
            worst = max(found, key=lambda layer: found[layer])
            rose = [layer for layer in found if found[layer] - earlier.get(layer, 1) >= _DEAD_ROSE]
            since = f", up from {earlier[worst]:.0%} in the first row" if worst in rose else ""
            yield Note(
                stat.partition("-")[0],
                tuple(found),
                f"of the features of {_named(list(found))}, up to {found[worst]:.0%} ({worst}) "
                f"{told}{since}; a smaller learning rate, or another initialisation, may keep "
                "them.",
                "Sokar et al., arXiv 2302.12902",
            )
            return


def one_feature(_: Row, now: Row) -> Iterator[Note]:
    """One feature that has most of the variance."""
    rest = now.of("saturation-without-leading-feature")
    if not rest:
        return
    shares = now.of("leading-feature-share")
    layer = max(rest, key=lambda one: shares.get(one, 0.0))
    place = now.of("leading-feature").get(layer)
    saturation = now.of("saturation").get(layer)
    feature = "one feature" if place is None else f"feature {place:.0f}"
    whole = "" if saturation is None else f"saturation is {saturation:.1%}, and "
    yield Note(
        "one-feature",
        tuple(rest),
        f"{feature} of {layer} has {shares.get(layer, math.nan):.0%} of the layer's variance: "
        f"{whole}{rest[layer]:.1%} without it{_others(rest)}. Saturation tells of that one channel "
        "here; stats=['csat'] has all features count alike.",
        "Sun et al., arXiv 2402.17762; Timkey and van Schijndel, arXiv 2109.04404",
    )


def modes_apart(_: Row, now: Row) -> Iterator[Note]:
    """Evaluation and training apart."""
    ratios = now.of("eval-train-variance", "eval")
    found = {
        layer: ratio
        for layer, ratio in ratios.items()
        if ratio > 0 and not 1 / _RATIO <= ratio <= _RATIO
    }
    if found:
        worst = max(found, key=lambda one: abs(math.log(found[one])))
        yield Note(
            "modes-apart",
            tuple(found),
            f"in evaluation the variance of {_named(list(found))} is {found[worst]:.3g} times that "
            f"in training ({worst}): statistics of batch norm may lag behind, or the data differ.",
            "Wu and Johnson, arXiv 2105.07576",
        )


def depth(_: Row, now: Row) -> Iterator[Note]:
    """Signals that vanish or explode."""
    traces = {layer: value for layer, value in now.of("covariance-trace").items() if value > 0}
    inner = [layer for layer in traces if layer not in now.layers[-1:]]
    if len(inner) < 2:
        return
    start = traces[inner[0]]
    found = [layer for layer in inner if not 1 / _DEPTH <= traces[layer] / start <= _DEPTH]
    if found:
        worst = max(found, key=lambda layer: abs(math.log(traces[layer] / start)))
        yield Note(
            "variance-over-depth",
            tuple(found),
            f"the total variance of {worst} is {traces[worst] / start:.2g} times that of "
            f"{inner[0]}{_others(found)}: signals vanish or explode over depth; initialisation for "
            "the activation in use, or normalisation, keeps them.",
            "Glorot and Bengio, AISTATS 2010; He et al., arXiv 1502.01852",
        )


def alike(before: Row, now: Row) -> Iterator[Note]:
    """Outputs that are alike whatever the input."""
    shares = now.of("mean-share")
    traces, earlier = now.of("covariance-trace"), before.of("covariance-trace")
    last, found = now.layers[-1:], {}
    for layer, share in shares.items():
        has_less = traces.get(layer, math.inf) < _LESS * earlier.get(layer, 0.0)
        # A last layer begins with its bias as most of what it gives.
        is_alike = share >= _ALIKE and layer not in last
        is_collapsing = share >= _ALIKE_AND_LESS and has_less
        if (is_alike or is_collapsing) and traces.get(layer, 1.0) > 0:
            found[layer] = share
    if found:
        worst = max(found, key=lambda layer: found[layer])
        yield Note(
            "alike",
            tuple(found),
            f"outputs of {_named(list(found))} are nearly alike for all inputs: {found[worst]:.1%} "
            f"of the mean square is the mean ({worst}), as in a collapse of representations, or "
            "where biases outweigh what comes from the input.",
            "Jing et al., arXiv 2110.09348",
        )


def tokens_alike(_: Row, now: Row) -> Iterator[Note]:
    """Outputs that are alike within a sequence."""
    found = {layer: v for layer, v in now.of("within-sequence-share").items() if v < 1e-3}
    if found:
        worst = min(found, key=lambda layer: found[layer])
        yield Note(
            "tokens-alike",
            tuple(found),
            f"within sequences, outputs of {_named(list(found))} are nearly alike: "
            f"{found[worst]:.1e} of the variance is within them ({worst}), as attention without "
            "residual connections makes it.",
            "Dong et al., arXiv 2103.03404",
        )


def at_ceiling(_: Row, now: Row) -> Iterator[Note]:
    """Saturation that is low and cannot be higher."""
    saturations, relative = now.of("saturation"), now.of("relative-saturation")
    if not saturations or not relative:
        return
    middle = median(saturations.values())
    inner = [layer for layer in relative if layer not in now.layers[:1]]
    # One that lies before wider ones: the ends are as wide as data and task have them.
    found = [
        layer
        for layer in inner
        if relative[layer] >= _AT_CEILING and saturations.get(layer, 1.0) < _FAR_BELOW * middle
        if saturations[layer] / relative[layer] <= _FAR_BELOW
    ]
    if len(found) > 1:
        layer = found[0]
        yield Note(
            "at-ceiling",
            tuple(found),
            f"saturation of {_named(found)} is low and cannot be higher: {saturations[layer]:.1%} "
            f"is all that the shape of its weight allows ({layer}), so it is no sign of layers "
            "that are too wide.",
            "the rank of a product is at most that of its factors",
        )


def beyond_border(_: Row, now: Row) -> Iterator[Note]:
    """Convolutions that see the whole image already."""
    shares = now.of("receptive-field-share")
    behind = [layer for layer, share in shares.items() if share == 1]
    if len(behind) > 1:
        yield Note(
            "border",
            tuple(behind),
            f"the input of {behind[0]} already sees the whole image, so {len(behind)} of "
            f"{len(shares)} convolutions can add no more of its context; larger images, or a "
            "network cut there, may be better.",
            "Richter et al., arXiv 2106.12307",
        )


def too_few(_: Row, now: Row) -> Iterator[Note]:
    """Numbers that more samples would change."""
    gaps, saturations = now.of("saturation-error"), now.of("saturation")
    found = {
        layer: gap / saturations[layer]
        for layer, gap in gaps.items()
        if saturations.get(layer, 0.0) > 0 and gap > _GAP * saturations[layer]
    }
    if found:
        worst = max(found, key=lambda layer: found[layer])
        better = now.of("extrapolated-saturation").get(worst)
        told = "" if better is None else f"; extrapolated it is {better:.1%}"
        yield Note(
            "few-samples",
            tuple(found),
            f"samples are too few for the saturation of {_named(list(found))}: half of them give "
            f"{found[worst]:.0%} less or more ({worst}, {saturations[worst]:.1%}{told}).",
            "Chun et al., arXiv 2509.26560, of the same bias",
        )


# The gravest first
KINDS: tuple[Callable[[Row, Row], Iterator[Note]], ...] = (
    constant,
    dead,
    modes_apart,
    alike,
    tokens_alike,
    depth,
    one_feature,
    beyond_border,
    too_few,
    at_ceiling,
)


def _named(layers: Sequence[str]) -> str:
    return shortened(layers, 3)


def _them(layers: Sequence[str]) -> str:
    return "it gives" if len(layers) == 1 else "they give"


def _others(layers: Sequence[str] | Mapping[str, float]) -> str:
    """How many more layers it holds for."""
    more = len(layers) - 1
    return f" (and {more} more layer{'s' if more > 1 else ''} alike)" if more else ""
