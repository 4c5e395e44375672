"""What the backends of a run hold by themselves, read back through their writers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from delve.base import entry_points as plugins
from delve.base.log import get_logger
from delve.delivery.checked_writer import NamedWriter
from delve.delivery.discovery import GROUP, load_writer_class, make_writers
from delve.errors import DelveError, WriterConflictError, WriterContractError
from delve.journal.contents import Contents
from delve.journal.stored_run import read_kept_runs
from delve.journal.values import LARGEST_EPOCH
from delve.records import EpochRecord, HeldEpoch, RunInfo

HOOK = "held_epochs"

logger = get_logger(__name__)


@dataclass(frozen=True)
class Holding:
    """What one backend holds.

    Attributes:
        writer: The writer's name.
        epochs: Its epochs, in rising order.
        error: Why they cannot be read; None where they can.
    """

    writer: str
    epochs: Mapping[int, HeldEpoch] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def is_exact(self) -> bool:
        """Whether all values are as they were given."""
        return all(held.is_exact for held in self.epochs.values())


def readable_writers(folder: Path, names: Iterable[str] = ()) -> Iterator[NamedWriter]:
    """The writers of these names, or all that are installed and can read their backends back.

    Raises:
        DelveError: One of those named cannot be had, or cannot read its backend back.
        WriterConflictError: Two distributions offer a writer of the same name.
    """
    named = list(names)
    for name in named or sorted(plugins.offers(GROUP)):
        try:
            if not named and not _can_read_back(load_writer_class(name)):
                continue
            (writer,) = make_writers(name, folder)
        except DelveError as error:
            if named or isinstance(error, WriterConflictError):
                raise
            logger.debug("writer %r is passed over", name, exc_info=error)
            continue
        if writer.implements(HOOK):
            yield writer
        elif named:
            raise WriterContractError(
                f"writer {name!r} cannot read its backend back: it has no {HOOK}; name another"
            )


def read_holding(writer: NamedWriter, folder: Path, contents: Contents) -> Holding:
    """What a writer's backend holds, as far as it can be read.

    Args:
        writer: A writer that implements the hook.
        folder: The run's folder.
        contents: What the run's journal still tells.
    """
    run = RunInfo(
        savefile=folder,
        run_id=contents.run_id,
        created=contents.created,
        layers=contents.layers,
        config=contents.config,
        metrics=tuple(contents.metrics),
        state=dict(contents.states.get(writer.name, {})),
    )
    try:
        answer = writer.hook.held_epochs(run=run)
        held = {one.epoch: one for one in answer or () if _check(writer.name, one)}
    except Exception as error:  # whatever a writer raises
        logger.debug("what went wrong in reading %r back:", writer.name, exc_info=error)
        return Holding(writer.name, error=error)
    return Holding(writer.name, {epoch: held[epoch] for epoch in sorted(held)})


def earlier_runs(folder: Path, run_id: str) -> list[Mapping[int, HeldEpoch]]:
    """What the journals that are kept in the folder tell of other runs than this one."""
    return [
        {record.epoch: as_held(record) for record in run.records}
        for run in read_kept_runs(folder)
        if run.run_id != run_id
    ]


def as_held(record: EpochRecord) -> HeldEpoch:
    """What a journal tells of an epoch, as if it were a backend."""
    values = dict(record.scalars) | dict(record.metrics.items())
    return HeldEpoch(record.epoch, values, record.timestamp, step=record.step)


def is_of_earlier_run(holding: Holding, runs: Sequence[Mapping[int, HeldEpoch]]) -> bool:
    """Whether one of these runs explains all that a backend holds."""
    return bool(holding.epochs) and any(
        all(epoch in run and agree(held, run[epoch]) for epoch, held in holding.epochs.items())
        for run in runs
    )


def agree(one: HeldEpoch, other: HeldEpoch) -> bool:
    """Whether the values that both have of an epoch are the same, as far as both are exact."""
    if None not in (one.step, other.step) and one.step != other.step:
        return False
    single = not (one.is_exact and other.is_exact)
    return all(
        _same(value, other.values[name], single)
        for name, value in one.values.items()
        if name in other.values
    )


@dataclass(frozen=True)
class Difference:
    """Where a backend holds something else than another record of the same run.

    Attributes:
        epochs: Single epochs, behind which both hold the same again: one of them is damaged.
        ever_after: From this epoch on, nothing is the same: the run went back while a backend was
            away, and what it holds from there on is void. None where that is not so.
    """

    epochs: tuple[int, ...] = ()
    ever_after: int | None = None

    @classmethod
    def between(cls, one: Mapping[int, HeldEpoch], other: Mapping[int, HeldEpoch]) -> Difference:
        """Of what both hold."""
        both = [epoch for epoch in sorted(one) if epoch in other]
        differing = [epoch for epoch in both if not agree(one[epoch], other[epoch])]
        last_same = max(set(both) - set(differing), default=-1)
        return cls(
            tuple(epoch for epoch in differing if epoch < last_same),
            next((epoch for epoch in differing if epoch > last_same), None),
        )


def _can_read_back(writer_class: type[object]) -> bool:
    # Statically, and before one is made: some need arguments to be made at all.
    return inspect.getattr_static(writer_class, HOOK, None) is not None


def _check(name: str, held: Any) -> bool:
    if not (isinstance(held, HeldEpoch) and _is_sound(held)):
        raise WriterContractError(f"writer {name!r}: {HOOK} gave {held!r}, which is no HeldEpoch")
    return True


def _is_sound(held: HeldEpoch) -> bool:
    """Whether a journal can take it, whatever types it claims to have."""
    numbers: list[Any] = [held.epoch, held.timestamp or 0, held.step or 0]
    return (
        all(type(number) is int and 0 <= number <= LARGEST_EPOCH for number in numbers)
        and all(isinstance(name, str) for name in held.values)
        and all(isinstance(value, (int, float)) for value in held.values.values())
    )


def _same(one: float, other: float, single: bool) -> bool:
    if single:
        with np.errstate(over="ignore"):
            one, other = float(np.float32(one)), float(np.float32(other))
    return one == other or (math.isnan(one) and math.isnan(other))
