"""All numbers of a run as matrices: what tables are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from delve.journal import values
from delve.journal.format import EpochLine
from delve.journal.values import WrittenNumbers


@dataclass(frozen=True, eq=False)
class Block:
    """The rows that hold the same names.

    Attributes:
        names: What the columns are: names of scalars, or layer metrics.
        rows: Which rows of the table these are, (rows,), rising.
        values: (rows x names).
    """

    names: tuple[Any, ...]
    rows: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Table:
    """The numbers of a run.

    Attributes:
        epochs: (rows,), rising.
        scalars: The user's own, as blocks.
        metrics: Those of the layers.
    """

    epochs: np.ndarray
    scalars: tuple[Block, ...]
    metrics: tuple[Block, ...]

    @classmethod
    def of(cls, lines: Sequence[EpochLine]) -> Table:
        """The table of these epochs."""
        return cls(
            np.array([line.epoch for line in lines], dtype=np.int64),
            _blocks([line.scalars for line in lines], values.numbers),
            _blocks([line.metrics for line in lines], values.layer_metrics),
        )

    @classmethod
    def of_scalars(cls, lines: Sequence[EpochLine]) -> Table:
        """The same without the layers' numbers, which are many."""
        epochs = np.array([line.epoch for line in lines], dtype=np.int64)
        return cls(epochs, _blocks([line.scalars for line in lines], values.numbers), ())

    @property
    def series(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The epochs and the values of each scalar, in first-seen order."""
        parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for block in self.scalars:
            for place, name in enumerate(block.names):
                parts.setdefault(name, []).append((block.rows, block.values[:, place]))
        return {name: self._joined(held) for name, held in parts.items()}

    def _joined(self, parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        rows = np.concatenate([rows for rows, _ in parts])
        order = np.argsort(rows, kind="stable")
        return self.epochs[rows[order]], np.concatenate([values for _, values in parts])[order]


def _blocks(
    rows: Sequence[Mapping[Any, Any]], decode: Callable[[Any], Mapping[Any, float]]
) -> tuple[Block, ...]:
    held: dict[tuple[Any, ...], tuple[list[int], list[float]]] = {}
    for row, (names, numbers) in enumerate(_each(rows, decode)):
        if names:
            places, flat = held.setdefault(names, ([], []))
            places.append(row)
            flat.extend(numbers)
    return tuple(
        Block(names, np.array(places), np.array(flat, dtype=float).reshape(-1, len(names)))
        for names, (places, flat) in held.items()
    )


def _each(
    rows: Sequence[Mapping[Any, Any]], decode: Callable[[Any], Mapping[Any, float]]
) -> Iterator[tuple[tuple[Any, ...], Sequence[float]]]:
    for row in rows:
        if type(row) is WrittenNumbers:
            yield tuple(row.names), row.in_order()
        else:
            decoded = decode(row)
            yield tuple(decoded), list(decoded.values())
