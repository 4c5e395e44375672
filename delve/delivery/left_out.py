"""Scalars that a backend's run gets from its owner, and so not from Delve."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from delve.errors import ArgumentError
from delve.records import RunInfo

_STATE = "left_out"  # what the writer remembers


class LeftOut:
    """The names of scalars that a run which is not Delve's gets from its owner already.

    For writers whose backends know such runs: a trainer's own logger sends its scalars there, at
    its own steps, and a second point at another step would spoil the curve. The names are
    remembered, so that a resume and an export leave them out as well.

    Args:
        names: The names; a collection that grows is looked into each time.

    Raises:
        ArgumentError: It is no collection of names.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        given: Any = names
        if isinstance(given, (str, bytes)) or not isinstance(given, Collection):
            raise ArgumentError(f"leave_out must be names of scalars, as a list, not {given!r}")
        self._names = names
        self._known: set[str] = set()

    def recall(self, run: RunInfo) -> None:
        """Know what an earlier part of the run has left out."""
        remembered: Any = run.state.get(_STATE) if isinstance(run.state, dict) else None
        if isinstance(remembered, list):
            self._known.update(name for name in remembered if isinstance(name, str))

    def __contains__(self, name: str) -> bool:
        if name not in self._known and name in self._names:
            self._known.add(name)
        return name in self._known

    def remember(self, run: RunInfo) -> None:
        """Keep what has been left out."""
        if self._known and run.state.get(_STATE) != sorted(self._known):
            run.remember(**{_STATE: sorted(self._known)})
