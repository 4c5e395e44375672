"""Names that MLflow accepts: one bad key would make it refuse the whole batch."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from delve.errors import ArgumentError
from delve.files import ends_in_digest, with_digest
from delve.records import Metric

MAX_LENGTH = 250

KeyStyle = Literal["plain", "ordered"]

PLAIN: KeyStyle = "plain"
ORDERED: KeyStyle = "ordered"

_FEWEST_DIGITS = 2

# Windows takes no colon; leaving it out everywhere gives a metric one key on every system.
_REFUSED = re.compile(r"[^/\w.\- ]")


def clean_key(name: str) -> str:
    """A metric's or param's name as MLflow takes it.

    A name that has to be changed ends in a digest of the original, and one that ends like that has
    to be changed too, so that two names never meet in one key and a resumed run finds the same keys
    again.
    """
    # MLflow takes a key for a path, and refuses one that is not its shortest form.
    cleaned = posixpath.normpath(_REFUSED.sub("_", name).replace("..", "__").strip("./") or "_")
    if cleaned == name and len(name) <= MAX_LENGTH and not ends_in_digest(name):
        return name
    return with_digest(cleaned, name, MAX_LENGTH)


def checked_style(style: object) -> KeyStyle | None:
    """A style of keys, as it was given; None leaves it to the run.

    Raises:
        ArgumentError: There is no such style.
    """
    for known in get_args(KeyStyle):
        if style == known:
            return PLAIN if known == PLAIN else ORDERED
    if style is None:
        return None
    raise ArgumentError(
        f"key_style must be 'plain', or 'ordered' for numbers that keep forward order, not "
        f"{style!r}"
    )


class LayerNumbers:
    """The numbers before layers' names, which keep forward order where a page sorts keys by name.

    A layer's number is fixed when it is first sent: with another one its curve would break in two.

    Args:
        texts: The numbers so far, by layer, as they stand in keys: ``03``.

    Attributes:
        texts: The numbers.
    """

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self.texts = dict(texts or {})

    @classmethod
    def read(cls, keys: Iterable[str]) -> LayerNumbers:
        """The numbers as they stand in keys without their prefix."""
        named = (metric.layer.partition(".") for key in keys if (metric := Metric.parse(key)))
        return cls({layer: number for number, _, layer in named if _is_number(number) and layer})

    def add(self, layers: Iterable[str], forward_order: Sequence[str]) -> bool:
        """Number the layers that have no number yet by their places in forward order.

        Returns:
            Whether there were any.
        """
        new = set(layers) - self.texts.keys()
        if not new:
            return False
        digits = len(next(iter(self.texts.values()), str(max(len(forward_order) - 1, 0))))
        places = {layer: place for place, layer in enumerate(forward_order)}
        taken = {int(text) for text in self.texts.values()}
        for layer in sorted(new, key=lambda layer: (places.get(layer, len(places)), layer)):
            number = places.get(layer, len(places))
            while number in taken:  # by a layer that the model has no longer
                number += 1
            taken.add(number)
            self.texts[layer] = f"{number:0{max(digits, _FEWEST_DIGITS)}d}"
        return True

    def before(self, name: str) -> str:
        """A name with the number of its layer, if it is a layer's."""
        metric = name if isinstance(name, Metric) else Metric.parse(name)
        number = self.texts.get(metric.layer) if metric else None
        if metric is None or number is None:
            return name
        return f"{metric.mode}-{metric.stat}/{number}.{metric.layer}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) >= _FEWEST_DIGITS


@dataclass(frozen=True)
class Keys:
    """How names become keys.

    Attributes:
        prefix: What each key begins with.
        numbers: Those of the layers; None where keys have none.
    """

    prefix: str = ""
    numbers: LayerNumbers | None = None

    @property
    def style(self) -> KeyStyle:
        """What the user knows it by."""
        return PLAIN if self.numbers is None else ORDERED

    def of(self, name: str) -> str:
        """The key of a name."""
        return clean_key(self.prefix + (self.numbers.before(name) if self.numbers else name))


@dataclass(frozen=True)
class RunsKeys:
    """The keys of a run's metrics.

    Attributes:
        keys: How they are made.
        names: The names of the metrics that the journal holds.
    """

    keys: Keys
    names: tuple[str, ...]

    @property
    def all(self) -> set[str]:
        """Those of all metrics."""
        return {self.keys.of(name) for name in self.names}

    @property
    def layers(self) -> set[str]:
        """Those of layers alone: in a run of the user's, scalars may be theirs."""
        return {self.keys.of(name) for name in self.names if Metric.parse(name)}

    def in_own(self, held: Iterable[str]) -> set[str]:
        """Those that a run of Delve's own holds, also where the journal holds them no more."""
        return self.layers_among(held) | self.all

    def layers_among(self, held: Iterable[str]) -> set[str]:
        """Those that have the form of a layer's."""
        prefix = self.keys.prefix
        ours = (key for key in held if key.startswith(prefix))
        return {key for key in ours if Metric.parse(key.removeprefix(prefix))}
