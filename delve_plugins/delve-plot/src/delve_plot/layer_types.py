"""Layers of one type: a Transformer repeats its blocks, so their names differ in numbers alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from delve_plot.names import short_names

MOST_IN_A_LIST = 12  # layers: more are drawn by type, if they have any
_LEAST = 3  # layers of a type: fewer show no course over the depth
_SHARE = 0.5  # of all layers, at least, that stand in blocks
OTHERS = "other layers"
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
    def names(self) -> list[str]:
        """What the types are called."""
        return [one.name for one in self.types]

    @property
    def depths(self) -> list[tuple[int, ...]]:
        """The depths of all types, in rising order."""
        return sorted({depth for one in self.types for depth in one.depths})

    def bands(self) -> list[tuple[str, ...]]:
        """The layers of each type, and last those of none."""
        bands = [one.layers for one in self.types]
        return [*bands, self.others] if self.others else bands

    def short_names(self) -> list[str]:
        """What the bands are called, without what the names of all types begin with."""
        return [*short_names(self.names), *([OTHERS] if self.others else [])]


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
    types = _types({form: held for form, held in groups.items() if len(held) >= _LEAST})
    typed = {layer for one in types for layer in one.layers}
    if len(types) < 2 or _in_blocks(sorted(typed)) < _SHARE * len(layers):
        return None
    return Types(tuple(types), tuple(layer for layer in layers if layer not in typed))


def _types(groups: Mapping[tuple[str, ...], Sequence[str]]) -> list[LayerType]:
    """The types of layers by what stands between their numbers.

    Layers whose names begin alike have their depths in common, also where one of the numbers never
    changes: ``layer2.0.downsample.0`` lies in the block of ``layer2.0.conv1``.
    """
    numbers = {form: [_numbers(layer) for layer in layers] for form, layers in groups.items()}
    differ = {form: _differing(rows) for form, rows in numbers.items()}
    shared: dict[str, set[int]] = {}
    for form, places in differ.items():
        shared.setdefault(form[0], set()).update(places)
    return [
        LayerType(
            _name(form, numbers[form][0], differ[form]),
            tuple(layers),
            tuple(
                tuple(row[place] for place in sorted(shared[form[0]]) if place < len(row))
                for row in numbers[form]
            ),
        )
        for form, layers in groups.items()
    ]


def _numbers(layer: str) -> list[int]:
    return [int(number) for number in _NUMBER.findall(layer)]


def _differing(rows: Sequence[Sequence[int]]) -> set[int]:
    """The places at which the numbers of layers differ."""
    return {place for place, column in enumerate(zip(*rows, strict=True)) if len(set(column)) > 1}


def _name(form: Sequence[str], numbers: Sequence[int], differ: Set[int]) -> str:
    told = [STAR if place in differ else str(number) for place, number in enumerate(numbers)]
    return "".join(itertools.chain.from_iterable(itertools.zip_longest(form, told, fillvalue="")))


def _in_blocks(layers: Sequence[str]) -> int:
    """How many of the layers stand in a block with another one."""
    blocks = [layer[: [*_NUMBER.finditer(layer)][-1].end()] for layer in layers]
    return sum(blocks.count(block) > 1 for block in blocks)
