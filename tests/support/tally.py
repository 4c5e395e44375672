"""What a sweep has compared, and what it found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Point = tuple[int, str, float]


@dataclass
class Tally:
    """The figures of a sweep.

    Attributes:
        tried: How many kills, cuts, faults or signals there were, by where.
        runs: In how many runs.
        resumes: How often one of them went on.
        epochs: Epochs compared, each in each backend.
        values: The values in them.
        lost: Epochs that a backend lacks, wholly or in part.
        doubled: Epochs that a backend holds more than once, wholly or in part.
        stale: Epochs that a backend holds with values that are void, or were never given.
        named: Arrays and pictures that are gone, and of which that was said.
        differences: Each fault in words, those of files without numbers too.
    """

    tried: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    resumes: int = 0
    epochs: int = 0
    values: int = 0
    lost: int = 0
    doubled: int = 0
    stale: int = 0
    named: int = 0
    differences: list[str] = field(default_factory=list)

    def count(self, held: Iterable[Point], wanted: Mapping[int, Mapping[str, float]]) -> None:
        """Compare what a backend holds with what it should hold, epoch by epoch."""
        found: dict[int, dict[str, list[float]]] = {epoch: {} for epoch in wanted}
        for epoch, name, value in held:
            found.setdefault(epoch, {}).setdefault(name, []).append(value)
            self.values += 1
        for epoch, values in found.items():
            right = wanted.get(epoch, {})
            self.epochs += 1
            self.lost += bool(right.keys() - values.keys())
            self.doubled += any(len(each) > 1 for each in values.values())
            self.stale += any(
                name not in right or not all(_same(value, right[name]) for value in each)
                for name, each in values.items()
            )

    def line(self, what: str, seconds: float) -> str:
        """The figures in one line."""
        return (
            f"{what}: {self.tried.total()} in {self.runs} runs; {self.epochs} epochs compared, "
            f"{self.lost} lost, {self.doubled} doubled, {self.stale} stale, "
            f"{len(self.differences)} differences; {seconds:.0f} s"
        )


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
