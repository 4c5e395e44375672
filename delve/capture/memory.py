"""How much memory the tracked layers take, and which of them are gathered by sketch for it."""

from __future__ import annotations

import numbers
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from delve.base.log import get_logger
from delve.errors import ArgumentError
from delve.numerics.directions import PROBES
from delve.numerics.footprint import ending_bytes, exact_bytes, exact_estimate, in_words
from delve.numerics.memory import free_memory
from delve.records import MODES, shortened

DEFAULT_SHARE, DEFAULT_BYTES = 0.25, 3 * 2**30
MOST_COLUMNS = 256  # of a sketch: beyond, hooks cost as much as exact ones
_LEAST_COLUMNS, _STEP = 16, 16
_WORTH_A_WORD = 0.1  # of the free memory
_UNITS = {"": 1, "b": 1, **{f"{x}b": 1000**i for i, x in enumerate("kmgt", 1)}}
_UNITS |= {f"{x}ib": 1024**i for i, x in enumerate("kmgt", 1)}

logger = get_logger(__name__)


def sketch_bytes(features: int, columns: int) -> int:
    """What a sketched layer holds in both modes."""
    sums = 8 * columns + 8 * PROBES + 4 * max(32, columns // 2) + 24
    return features * (len(MODES) * sums + 2 * columns + 8 * PROBES)


@dataclass(frozen=True)
class MemoryLimit:
    """What the user allows.

    Attributes:
        share: Of what is free when the first pass comes; None where bytes are given.
        bytes: So many at most; 0: as many as the share is.
    """

    share: float | None = DEFAULT_SHARE
    bytes: int = DEFAULT_BYTES

    @classmethod
    def of(cls, given: Any) -> MemoryLimit:
        """From what the user gave: bytes, a text such as ``2GiB``, a share, or None.

        Raises:
            ArgumentError: It is none of these.
        """
        if given is None:
            return cls()
        if isinstance(given, str):
            match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", given)
            if match and (unit := _UNITS.get(match[2].lower())) and float(match[1]) > 0:
                return cls(None, int(float(match[1]) * unit))
        elif not isinstance(given, bool) and isinstance(given, numbers.Real):
            if isinstance(given, numbers.Integral) and int(given) > 1:
                return cls(None, int(given))
            if 0 < float(given) <= 1:
                return cls(float(given), 0)
        raise ArgumentError(
            "memory_limit must be bytes, as 2_000_000_000 or '2GiB', or a share of the free memory "
            f"in (0, 1], not {given!r}"
        )

    def in_bytes(self, device: torch.device) -> int:
        """The limit on a device, as it is now."""
        if self.share is None:
            return self.bytes
        return min(int(self.share * free_memory(device)), self.bytes or sys.maxsize)


@dataclass
class MemoryPlan:
    """Decides, once the first pass comes, how each layer is gathered.

    Layers of one width are decided alike, so that they can be compared: the widest are sketched
    first, until the rest fits.

    Attributes:
        limit: What the user allows.
        exact: Layers that are gathered exactly, whatever it takes.
        sketch: Layers that are not, however much there is.
        widths: How many features layers have, where their modules tell.
    """

    limit: MemoryLimit = field(default_factory=MemoryLimit)
    exact: frozenset[str] = frozenset()
    sketch: frozenset[str] = frozenset()
    widths: Mapping[str, int] = field(default_factory=dict)
    _columns: dict[str, int] | None = field(default=None, repr=False)  # 0: exact
    _seen: dict[str, int] = field(default_factory=dict, repr=False)
    _left: int = field(default=0, repr=False)

    def columns_of(self, layer: str, features: int, device: torch.device) -> int:
        """How many columns the sketch of a layer has; 0: it is gathered exactly."""
        if self._columns is None:
            self._decide(self.limit.in_bytes(device), device)
        assert self._columns is not None
        if self._seen.get(layer) != features:
            columns = self._columns_of_one(layer, features)
            self._left -= _bytes_of(features, columns)
            self._columns[layer], self._seen[layer] = columns, features
            if columns and layer not in self.sketch:
                _say_sketched({layer: features}, columns)
        return self._columns[layer]

    def columns_in_need(self, features: int) -> int:
        """How many columns the sketch of a layer has that memory was not enough for."""
        return min(MOST_COLUMNS // 4, _most_columns(features))

    def set_columns(self, layer: str, features: int, columns: int) -> None:
        """A layer is sketched from now on, whatever was decided."""
        self._columns = {} if self._columns is None else self._columns
        self._columns[layer], self._seen[layer] = columns, features

    def tell(self, device: torch.device) -> None:
        """Say what the layers will take, and warn where that is much."""
        if not self.widths:
            return
        held, ending = exact_estimate(self.widths.values())
        logger.info(
            "covariances of %d layers, all gathered exactly: at most %s for both modes, and %s "
            "more for a while at the end of an epoch",
            len(self.widths),
            in_words(held),
            in_words(ending),
        )
        free = free_memory(device)
        if held + ending <= _WORTH_A_WORD * free:
            return
        widest = sorted(self.widths, key=lambda layer: self.widths[layer], reverse=True)[:3]
        logger.warning(
            "the covariances of all layers would take up to %s, of %s that are free; most of it: "
            "%s. Layers beyond memory_limit (%s) are gathered by sketch, which gives their "
            "saturation with its bounds; exact=[...] and sketch=[...] choose by name, "
            "ignore_layer_names leaves layers out, and evaluation alone takes half",
            in_words(held + ending),
            in_words(free),
            ", ".join(
                f"{name} ({self.widths[name]} features, "
                f"{in_words(len(MODES) * exact_bytes(self.widths[name]))})"
                for name in widest
            ),
            in_words(self.limit.in_bytes(device)),
        )

    def _decide(self, limit: int, device: torch.device) -> None:
        free = {layer for layer in self.widths if layer not in self.exact | self.sketch}
        sketched = {layer for layer in self.widths if layer in self.sketch}
        # The widest first, all of one width together.
        for width in sorted({self.widths[layer] for layer in free}, reverse=True):
            if self._total(sketched, MOST_COLUMNS) <= limit:
                break
            if not _is_worth_it(width, _most_columns(width)):
                break
            sketched |= {layer for layer in free if self.widths[layer] == width}
        columns = MOST_COLUMNS
        while columns > _LEAST_COLUMNS and self._total(sketched, columns) > limit:
            columns -= _STEP
        self._columns = {
            layer: min(columns, _most_columns(width)) if layer in sketched else 0
            for layer, width in self.widths.items()
        }
        self._seen = dict(self.widths)
        self._left = limit - self._total(sketched, columns)
        chosen = {name: self.widths[name] for name in self.widths if name in sketched & free}
        if chosen:
            _say_sketched(chosen, columns)
        if self._left < 0:
            logger.warning(
                "the layers take up to %s on %s, more than memory_limit allows (%s)",
                in_words(limit - self._left),
                device,
                in_words(limit),
            )

    def _columns_of_one(self, layer: str, features: int) -> int:
        """Of a layer whose width its module did not tell."""
        if layer in self.exact:
            return 0
        if layer not in self.sketch and _bytes_of(features, 0) <= self._left:
            return 0
        columns = _most_columns(features)
        while columns > _LEAST_COLUMNS and sketch_bytes(features, columns) > self._left:
            columns -= _STEP
        if layer not in self.sketch and not _is_worth_it(features, columns):
            return 0
        return columns

    def _total(self, sketched: Iterable[str], columns: int) -> int:
        names = set(sketched)
        exact = [width for layer, width in self.widths.items() if layer not in names]
        return (
            sum(
                sketch_bytes(width, min(columns, _most_columns(width)))
                for layer, width in self.widths.items()
                if layer in names
            )
            + sum(_bytes_of(width, 0) for width in exact)
            + max(map(ending_bytes, exact), default=0)
        )


def _bytes_of(features: int, columns: int) -> int:
    """What a layer holds in both modes."""
    return sketch_bytes(features, columns) if columns else len(MODES) * exact_bytes(features)


def _is_worth_it(features: int, columns: int) -> bool:
    """Whether a sketch takes so much less that bounds in the place of a value are worth it."""
    return 3 * sketch_bytes(features, columns) <= len(MODES) * exact_bytes(features)


def _most_columns(features: int) -> int:
    return max(1, min(MOST_COLUMNS, max(_LEAST_COLUMNS, features // 8), features))


def _say_sketched(layers: Mapping[str, int], columns: int) -> None:
    logger.warning(
        "gathered by sketch, as memory_limit leaves no room for more: %s (%s features; at most %d "
        "directions). Their saturation is exact where its bounds agree, and otherwise stands "
        "between saturation-low and saturation-high",
        shortened(list(layers)),
        ", ".join(map(str, sorted(set(layers.values())))),
        columns,
    )
