"""What a writer's backend refuses for good: named once, and left out from then on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

from delve.base.log import get_logger
from delve.errors import RejectedError
from delve.records import shortened

LONGEST_REASON = 1000  # characters

K = TypeVar("K", bound=str)
V = TypeVar("V")

logger = get_logger("delve.delivery")  # one name for all that is said of the delivery


class Refusals:
    """The items that one writer is not given any more.

    Args:
        writer: The writer's name.
    """

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self._items: set[str] = set()
        self._last: RejectedError | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def left_of(self, values: Mapping[K, V]) -> dict[K, V]:
        """The values without those that are refused."""
        if not self._items:
            return dict(values)
        return {name: value for name, value in values.items() if name not in self._items}

    def note(self, error: RejectedError, given: Collection[str]) -> None:
        """Leave out what was refused of the items that the writer was given, and name it.

        Raises:
            RejectedError: It names none of them, so that leaving them out would mend nothing.
        """
        new = [item for item in error.items if item in given and item not in self._items]
        if not new:
            raise error
        self._items.update(new)
        self._last = error
        logger.warning(
            "writer %r: its backend refuses %s (%s); that is left out there from now on, all else "
            "arrives, and the journal holds all numbers",
            self._writer,
            shortened(new),
            error.reason[:LONGEST_REASON],
        )

    def take_last(self) -> RejectedError | None:
        """The refusal that was noted last, for whoever has to act on it; once."""
        last, self._last = self._last, None
        return last
