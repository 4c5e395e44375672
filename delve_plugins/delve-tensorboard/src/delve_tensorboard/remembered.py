"""What the earlier part of a run has settled, as the journal has it: a hint, checked when read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from delve.base import get_logger
from delve.records import MODES, RunInfo

_MOST_LAYERS = 10**6

logger = get_logger(__name__)


@dataclass(frozen=True)
class Remembered:
    """What a writer remembers of a run.

    Attributes:
        numbers: The layers' numbers; None where they are not known.
        begins: From which step in TensorBoard on a mode's run has a record of each row.
        stats: The statistics that there were.
        unusable: What the journal holds under these names and nobody can have meant.
    """

    numbers: dict[str, int] | None = None
    begins: dict[str, int] = field(default_factory=dict)
    stats: list[str] = field(default_factory=list)
    unusable: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: RunInfo) -> Remembered:
        """What can be used of a run's state: in a copied folder at first that of its origin.

        The event files were copied with the folder, and are the copy's own.
        """
        state = run.state or (run.origin.state if run.origin else {})
        held: dict[str, Any] = {key: state[key] for key in _FORMS if key in state}
        usable = {key: value for key, value in held.items() if _FORMS[key](value)}
        unusable = tuple(held.keys() - usable.keys())
        if unusable:
            logger.warning(
                "what the journal of %s says that the TensorBoard writer remembers cannot be used "
                "(%s), and is passed over",
                run.savefile,
                ", ".join(sorted(unusable)),
            )
        return cls(**usable, unusable=unusable)

    @property
    def knows_begins(self) -> bool:
        """Whether an epoch can be told to be whole."""
        return "begins" not in self.unusable


def _are_numbers(value: object) -> bool:
    """Whether layers have different numbers, each of a size that a model can have."""
    return (
        isinstance(value, dict)
        and all(isinstance(layer, str) and _is_count(number) for layer, number in value.items())
        and len(set(value.values())) == len(value)
    )


def _are_begins(value: object) -> bool:
    return isinstance(value, dict) and all(
        mode in MODES and _is_count(epoch, 2**62) for mode, epoch in value.items()
    )


def _are_stats(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(stat, str) for stat in value)


def _is_count(value: object, end: int = _MOST_LAYERS) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < end


_FORMS: dict[str, Callable[[object], bool]] = {
    "numbers": _are_numbers,
    "begins": _are_begins,
    "stats": _are_stats,
}
