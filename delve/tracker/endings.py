"""Which exceptions are a good end of a training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from delve.errors import ArgumentError

# Exceptions that end a training as they are meant to, and are no failures to anybody; known by
# their names, so that their libraries need not be imported.
KNOWN = frozenset({"optuna.exceptions.TrialPruned"})


def check_ends_well(ends_well: Any) -> tuple[type[BaseException], ...]:
    """The classes of exceptions that end a run well; a single one will do."""
    classes = (ends_well,) if isinstance(ends_well, type) else ends_well
    if not isinstance(classes, Iterable):
        classes = (ends_well,)
    checked = tuple(classes)
    for one in checked:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise ArgumentError(
                "ends_well must be classes of exceptions, for example "
                f"ends_well=[KeyboardInterrupt], not {one!r}"
            )
    return checked


def what_went_wrong(
    error: BaseException | None, ends_well: tuple[type[BaseException], ...]
) -> BaseException | None:
    """The exception that ended a training, or None where that is a good end."""
    if error is None or isinstance(error, ends_well) or _is_known(type(error)):
        return None
    return error


def _is_known(kind: type[BaseException]) -> bool:
    return any(f"{one.__module__}.{one.__qualname__}" in KNOWN for one in kind.__mro__)
