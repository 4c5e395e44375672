"""What MLflow refuses for good is told from a server that is away, and left out alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from mlflow.exceptions import MlflowException

LONGEST = 5.0  # seconds in which what is refused is looked for, so that an attempt stays short

_CODES = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
# A proxy answers without a code of MLflow's: bad request, too large, cannot be processed.
_STATUS = re.compile(r"failed with error code (400|413|422)\b")
# What a file store cannot give a name, or a request cannot hold.
_CAUSES = (
    NotADirectoryError,
    IsADirectoryError,
    FileExistsError,
    UnicodeError,
    OverflowError,
    TypeError,
)
_TOO_LONG = re.compile("file name too long", re.IGNORECASE)


class Keyed(Protocol):
    """A metric or a param of MLflow's."""

    @property
    def key(self) -> str:
        """Its name."""


Item = TypeVar("Item", bound=Keyed)


def is_refusal(error: BaseException) -> bool:
    """Whether an error says that something in the request can never be taken."""
    if isinstance(error, _CAUSES):
        return True
    if not isinstance(error, MlflowException):
        return False
    if error.error_code in _CODES or _STATUS.search(str(error)):
        return True
    # A file store wraps what went wrong, and says "internal error".
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and _TOO_LONG.search(str(cause)):
        return True
    return isinstance(cause, _CAUSES) or (cause is not None and is_refusal(cause))


def deliver(
    items: Sequence[Item],
    send: Callable[[Sequence[Item]], object],
    lacking: Callable[[Sequence[Item]], list[Item]],
    is_usable: Callable[[], bool],
    doubted: bool,
    refused: dict[str, str],
) -> None:
    """Send all items but those that are refused, each once.

    They go as one batch; where that is refused, it is halved until the culprits stand alone.

    Args:
        items: What to send.
        send: Sends some of them. On a failure some may have arrived.
        lacking: Which of some have not arrived.
        is_usable: Whether MLflow takes anything for this run; else a refusal is no item's fault.
        doubted: Whether some may have arrived before.
        refused: The reasons by key, filled here, also where the search ends too early.

    Raises:
        Exception: As ``send``, where the items are not to blame.
    """
    until = time.monotonic() + LONGEST
    batches, found, first, taken = [list(items)], dict[str, str](), None, False
    while batches:
        batch = batches.pop()
        if doubted:
            batch = lacking(batch)
        if not batch:
            continue
        try:
            send(batch)
            taken = True
        except Exception as error:
            if not is_refusal(error) or (first is None and not is_usable()):
                raise
            first, doubted = first or error, True
            if len(batch) == 1:
                found[batch[0].key] = reason(error)
            else:
                batches += _parts(batch, str(error))
            if batches and time.monotonic() > until:
                refused |= found if taken else {}
                raise
    if first and len(items) > 1 and len(found) == len(items) and not _named(found):
        raise first  # that everything is bad is less likely than that the server is
    refused |= found


def _parts(batch: list[Item], message: str) -> list[list[Item]]:
    """Two parts of a batch: who is named in the message stands alone, else it is halved."""
    named = max((item.key for item in batch if item.key in message), key=len, default=None)
    culprits = [item for item in batch if item.key == named]
    if len(culprits) == 1:
        return [[item for item in batch if item.key != named], culprits]
    middle = len(batch) // 2
    return [batch[middle:], batch[:middle]]


def _named(found: dict[str, str]) -> bool:
    return any(key in reason for key, reason in found.items())


def reason(error: Exception) -> str:
    """The first line of what MLflow says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
