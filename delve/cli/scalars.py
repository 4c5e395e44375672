"""The user's scalars over a whole recorded run."""

from __future__ import annotations

from dataclasses import dataclass

from delve.journal.overview import Extremes
from delve.journal.stored_run import StoredRun

_LOWEST_IS_BEST = ("loss", "err", "nll", "perplexity", "ppl", "mse", "mae")  # parts of names


@dataclass(frozen=True)
class ScalarSummary:
    """A scalar of the user's over the whole run.

    Attributes:
        name: Its name.
        last: Its last value.
        best: Its best finite value, None where none was finite.
        best_epoch: The first epoch that reached it.
        lowest: Whether the lowest value was taken for the best one, by the name.
    """

    name: str
    last: float
    best: float | None
    best_epoch: int | None
    lowest: bool

    @classmethod
    def of(cls, name: str, extremes: Extremes) -> ScalarSummary:
        """What is told of a scalar that went so far down and up."""
        lowest = lowest_is_best(name)
        best, epoch = (extremes.lowest if lowest else extremes.highest) or (None, None)
        return cls(name=name, last=extremes.last, best=best, best_epoch=epoch, lowest=lowest)


def lowest_is_best(name: str) -> bool:
    """Whether the lowest value of a scalar is its best, by its name."""
    return any(word in name.lower() for word in _LOWEST_IS_BEST)


def has_best(name: str) -> bool:
    """Whether a best value means anything: of the tracker's averages over layers none does."""
    return not name.startswith("average-")


def summarise_scalars(run: StoredRun) -> list[ScalarSummary]:
    """The user's scalars in first-seen order."""
    return [ScalarSummary.of(name, extremes) for name, extremes in run.overview.scalars.items()]
