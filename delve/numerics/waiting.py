"""The processes of a training meet before they exchange anything, and say for whom they wait.

They meet in the store of the process group, so that a process that is alone in a call has begun
nothing that the others would have to take part in.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from delve.base.log import get_logger
from delve.errors import DelveError
from delve.numerics.processes import Group, is_distributed, named, ranks_of

WARN_AFTER = 10.0  # seconds

_LONGEST_PAUSE = 0.05  # seconds between two looks into the store

_rounds: Counter[tuple[int, ...]] = Counter()  # how often the processes of these ranks have met
_patience = {"factor": 1.0}  # grows where the others were but slow, so that is said once

logger = get_logger(__name__)


def meet(call: str, group: Group = None, patience: float = 1.0) -> None:
    """Wait until all processes of the group are in this call, and say so where that takes long.

    Args:
        call: What to name it.
        group: The processes.
        patience: How many times longer than usual to wait, where there is work to be done before.

    Raises:
        DelveError: One has not come within the timeout of the group.
    """
    store = _store() if is_distributed(group) else None
    if store is None:
        return
    ranks = tuple(ranks_of(group))
    meeting = _Meeting(store, ranks, _rounds[ranks])
    began = time.monotonic()
    meeting.arrive()
    try:
        _wait(meeting, call, began, _timeout(group) * patience, WARN_AFTER * patience)
    except BaseException:
        meeting.leave()
        raise
    _rounds[ranks] += 1
    meeting.tidy()


class _Meeting:
    """One round of processes in a store: a key for each that has come, and one for all."""

    def __init__(self, store: Any, ranks: tuple[int, ...], number: int) -> None:
        self._store = store
        self._ranks = ranks
        self._own = dist.get_rank()
        self._number = number

    def arrive(self) -> None:
        self._store.set(self._key(self._own), "")
        if self._store.check([self._key(rank) for rank in self._ranks]):
            self._store.set(self._key("all"), "")

    def is_complete(self) -> bool:
        return bool(self._store.check([self._key("all")]))

    def missing(self) -> list[int]:
        return [rank for rank in self._ranks if not self._store.check([self._key(rank)])]

    def leave(self) -> None:
        with contextlib.suppress(RuntimeError):  # the store may be gone
            self._store.delete_key(self._key(self._own))

    def tidy(self) -> None:
        """Delete what the round before has left: all have come from there."""
        before = _Meeting(self._store, self._ranks, self._number - 1)
        before.leave()
        if self._own == self._ranks[0]:
            with contextlib.suppress(RuntimeError):
                self._store.delete_key(before._key("all"))

    def _key(self, what: int | str) -> str:
        members = ",".join(map(str, self._ranks))
        return f"delve/{members}/{self._number}/{what}"


def _wait(meeting: _Meeting, call: str, began: float, timeout: float, warn_after: float) -> None:
    has_warned = False
    while not meeting.is_complete():
        waited = time.monotonic() - began
        if waited >= warn_after * _patience["factor"] and not has_warned:
            has_warned = True
            _warn(call, waited, meeting.missing())
        if waited >= timeout:
            raise DelveError(
                f"{call}: {named(meeting.missing())} did not come within {timeout:.0f} s (by "
                "the process group's timeout); every process has to make this call, none alone "
                "under `if rank == 0:`"
            )
        time.sleep(min(_LONGEST_PAUSE, 0.0005 + waited / 20))
    if has_warned:
        waited = time.monotonic() - began
        _patience["factor"] = max(_patience["factor"], 10 * waited / WARN_AFTER)


def _warn(call: str, waited: float, missing: list[int]) -> None:
    if missing:
        logger.warning(
            "%s: rank %d has waited %.0f s for %s, which did not make this call. Every process "
            "has to: is it under `if rank == 0:`, or has one ended? Where they are but slow, "
            "nothing needs to be done",
            call,
            dist.get_rank(),
            waited,
            named(missing),
        )


def _store() -> Any:
    """The store that all processes share; None where there is none of use."""
    if dist.get_backend() == "fake":  # for trials in one process
        return None
    get = getattr(dist.distributed_c10d, "_get_default_store", None)
    return get() if get is not None else None


def _timeout(group: Group) -> float:
    """Seconds after which the group's own operations would give up."""
    found: Any = dist.default_pg_timeout
    with contextlib.suppress(Exception):  # private to torch, and different in its backends
        members: Any = group or dist.group.WORLD
        kind = torch.device("cuda" if "nccl" in str(dist.get_backend(group)) else "cpu")
        found = members._get_backend(kind).options._timeout
    return found.total_seconds() if isinstance(found, timedelta) else 1800.0
