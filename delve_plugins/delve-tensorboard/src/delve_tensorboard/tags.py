"""The tags that layer metrics have in TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from delve.records import Metric


class LayerTags:
    """Tags of the form ``saturation/000.layer``, the same for training and evaluation.

    TensorBoard sorts tags by name, so the number before a layer's name keeps forward order. A
    layer's number is fixed when it is first written: with another one its curve would break in
    two.

    Args:
        numbers: The numbers that were given out in an earlier part of the run.
    """

    def __init__(self, numbers: Mapping[str, int] | None = None) -> None:
        self.numbers = dict(numbers or {})
        self._tags: dict[Metric, str] = {}

    @classmethod
    def read(cls, tags: Iterable[str]) -> LayerTags:
        """The numbers as they stand in tags."""
        parts = (tag.partition("/")[2].partition(".") for tag in tags)
        return cls({layer: int(number) for number, _, layer in parts if number.isdecimal()})

    def add(self, layers: Iterable[str], forward_order: Sequence[str]) -> bool:
        """Number the layers that have no number yet by their places in forward order.

        Returns:
            Whether there were any.
        """
        new = set(layers) - self.numbers.keys()
        places = {layer: place for place, layer in enumerate(forward_order)} if new else {}
        taken = set(self.numbers.values())
        for layer in sorted(new, key=lambda layer: (places.get(layer, len(places)), layer)):
            number = places.get(layer, len(places))
            while number in taken:  # by a layer that the model has no longer
                number += 1
            taken.add(number)
            self.numbers[layer] = number
        return bool(new)

    def tag(self, metric: Metric) -> str:
        """The tag of a metric whose layer has a number."""
        tag = self._tags.get(metric)
        if tag is None:
            tag = f"{metric.stat}/{self.numbers[metric.layer]:03d}.{metric.layer}"
            self._tags[metric] = tag
        return tag

    def in_order(self) -> list[str]:
        """The layers in the order of their numbers."""
        return sorted(self.numbers, key=self.numbers.__getitem__)
