"""Layers of one type: a Transformer repeats its blocks, so their names differ in numbers alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_IN_A_LIST = 12  # layers: more are drawn by type, if they have any
_LEAST = 3  # layers of a type: fewer show no course over the depth
_SHARE = 0.5  # of all layers, at least, that stand in blocks
STAR = "*"  # in the place of the number, as in patterns of files

# A module that is a number, blocks.3, or ends in one and has others in it: denselayer3.conv1. The
# last module's own number stays: fc1 and fc2 are two types.
_NUMBER = re.compile(r"(?<![0-9])[0-9]+(?=\.)|(?<=\.)[0-9]+$")


@dataclass(frozen=True)
class LayerType:
    """Layers whose names differ in the numbers of their blocks.

    Attributes:
        name: Theirs, with a star where they differ: ``blocks.*.attention.query``.
        layers: In forward order.
        depths: The numbers in which each differs: ``(3,)``, or ``(1, 0)`` of ``layer1.0.conv1``.
    """

    name: str
    layers: tuple[str, ...]
    depths: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Types:
    """The layers of a network by type.

    Attributes:
        types: In forward order of their first layers.
        others: The layers of no type.
    """

    types: tuple[LayerType, ...]
    others: tuple[str, ...]

    @property
    def depths(self) -> list[tuple[int, ...]]:
        """The depths of all types, in rising order."""
        return sorted({depth for one in self.types for depth in one.depths})

    def bands(self) -> list[tuple[str, tuple[str, ...]]]:
        """What each group of layers is called, and its layers; those of no type come last."""
        bands = [(one.name, one.layers) for one in self.types]
        return [*bands, ("others", self.others)] if self.others else bands


def layer_types(layers: Sequence[str]) -> Types | None:
    """The layers by type; None where they have none that is worth a figure.

    That needs blocks, which hold several layers and repeat: layers that merely have numbers, as in
    a plain :class:`torch.nn.Sequential`, are a list.

    Args:
        layers: The layers' names in forward order.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for layer in layers:
        groups.setdefault(tuple(_NUMBER.split(layer)), []).append(layer)
    types = [_type(form, held) for form, held in groups.items() if len(held) >= _LEAST]
    typed = {layer for one in types for layer in one.layers}
    if len(types) < 2 or _in_blocks(sorted(typed)) < _SHARE * len(layers):
        return None
    return Types(tuple(types), tuple(layer for layer in layers if layer not in typed))


def _type(form: Sequence[str], layers: Sequence[str]) -> LayerType:
    numbers = [_NUMBER.findall(layer) for layer in layers]
    columns = list(zip(*numbers, strict=True))
    differ = [len(set(column)) > 1 for column in columns]
    filled = [STAR if own else column[0] for column, own in zip(columns, differ, strict=True)]
    name = "".join(itertools.chain.from_iterable(itertools.zip_longest(form, filled, fillvalue="")))
    depths = tuple(
        tuple(int(number) for number, own in zip(row, differ, strict=True) if own)
        for row in numbers
    )
    return LayerType(name, tuple(layers), depths)


def _in_blocks(layers: Sequence[str]) -> int:
    """How many of the layers stand in a block with another one."""
    blocks = [layer[: [*_NUMBER.finditer(layer)][-1].end()] for layer in layers]
    return sum(blocks.count(block) > 1 for block in blocks)
