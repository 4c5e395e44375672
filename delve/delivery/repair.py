"""Writes a run's journal anew: from what it still tells, and what its local backends hold."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from delve.delivery.holdings import (
    Difference,
    Holding,
    agree,
    as_held,
    earlier_runs,
    is_of_earlier_run,
    read_holding,
    readable_writers,
)
from delve.errors import JournalError
from delve.journal.clock import now_in_ms
from delve.journal.format import FORMAT, RunLine
from delve.journal.home import Home
from delve.journal.lock import LOCK_NAME, FolderLock
from delve.journal.reading import JOURNAL_NAME
from delve.journal.salvage import Salvage, lines_that_tell, salvage, write_anew
from delve.records import EpochRecord, HeldEpoch, Metric
from delve.stats.registry import is_stat_name


@dataclass(frozen=True)
class Source:
    """What a repair found in one backend.

    Attributes:
        writer: The writer's name.
        epochs: The epochs that it holds.
        taken: Those that were taken from it.
        difference: Where it holds something else than what was taken before, which counts.
        is_of_earlier_run: Whether it holds an earlier run, whose journal is kept.
        is_exact: Whether its values are as they were given.
        error: Why it cannot be read; None where it can.
    """

    writer: str
    epochs: Sequence[int] = ()
    taken: Sequence[int] = ()
    difference: Difference = field(default_factory=Difference)
    is_of_earlier_run: bool = False
    is_exact: bool = True
    error: str | None = None


@dataclass(frozen=True)
class Repair:
    """What a repair has found and done.

    Attributes:
        path: The journal.
        run_id: The run's identity.
        is_same_run: Whether the journal still told it; a new one was given to the run if not.
        own: The epochs that the journal itself told.
        sources: What was found in the backends.
        epochs: Those that the journal tells now.
        guessed_times: The epochs of which nothing tells when they were saved.
        states: The writers that the journal tells what they remember.
        is_new: Whether the journal was written anew; if not, nothing was amiss that can be mended.
        kept: Where the damaged one is kept; None where there was none.
    """

    path: Path
    run_id: str
    is_same_run: bool
    own: Sequence[int]
    sources: Sequence[Source]
    epochs: Sequence[int]
    guessed_times: Sequence[int]
    states: Sequence[str]
    is_new: bool
    kept: Path | None = None


def repair(folder: Path, names: Iterable[str] = ()) -> Repair:
    """Write the folder's journal anew, unless it is whole and knows all that the backends hold.

    What it still tells comes first: who the run is, what its writers remember, its epochs. Those
    that it lacks are taken from the backends, first from those that hold values as they were given.
    A backend counts up to the first epoch of which it holds something else. The damaged journal is
    kept under another name. The folder is locked meanwhile.

    Args:
        folder: The run's folder.
        names: The writers to read from; by default all that are installed and find something.

    Raises:
        JournalError: There is nothing to write a journal from, or it cannot be written.
        RunFolderInUseError: A tracker records into the folder.
        DelveError: A writer that is named cannot be had, or cannot read.
    """
    if not folder.is_dir():
        raise JournalError(f"{folder} is not a folder; name a run's folder")
    writers = list(readable_writers(folder, names))
    with _locked(folder):
        try:
            old = salvage(folder)
        except OSError as error:
            raise JournalError(
                f"{folder / JOURNAL_NAME} cannot be read ({error.strerror})"
            ) from error
        holdings = [read_holding(writer, folder, old.contents) for writer in writers]
        return _rebuild(folder, old, [h for h in holdings if h.epochs or h.error])


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep trackers off; a folder that turns out to be no run's is left as it was found."""
    was_there = (folder / LOCK_NAME).exists()
    lock = FolderLock(folder)
    try:
        yield
    except JournalError:
        if not was_there:
            (folder / LOCK_NAME).unlink(missing_ok=True)
        raise
    finally:
        lock.release()


def _rebuild(folder: Path, old: Salvage, holdings: Sequence[Holding]) -> Repair:
    contents, is_same_run = old.contents, bool(old.contents.run_id)
    merged = {epoch: as_held(record) for epoch, record in old.records.items()}
    sources = _merge(folder, old, holdings, merged)
    is_changed = len(merged) > len(old.records) or not old.is_healthy
    if not merged:
        raise JournalError(_nothing_found(folder, sources))
    held = [merged[epoch] for epoch in sorted(merged)]
    kept = None
    if is_changed:
        _identify(folder, old, held)
        for source in sources:  # by which its writer knows the files for its own
            contents.states.setdefault(source.writer, {})
        lines = lines_that_tell(contents, _records(old, held), _sound(old, sources))
        kept = write_anew(folder, lines)
    return Repair(
        path=folder / JOURNAL_NAME,
        run_id=contents.run_id,
        is_same_run=is_same_run,
        own=list(old.records),
        sources=sources,
        epochs=[one.epoch for one in held],
        guessed_times=[one.epoch for one in held if one.timestamp is None],
        states=[name for name, state in contents.states.items() if state],
        is_new=is_changed,
        kept=kept,
    )


def _merge(
    folder: Path, old: Salvage, holdings: Sequence[Holding], merged: dict[int, HeldEpoch]
) -> list[Source]:
    """Add to ``merged`` what it lacks and the backends hold."""
    earlier = earlier_runs(folder, old.contents.run_id)
    sources = []
    for holding in sorted(holdings, key=lambda holding: not holding.is_exact):
        source = Source(holding.writer, list(holding.epochs), is_exact=holding.is_exact)
        if holding.error:
            sources.append(replace(source, error=str(holding.error)))
            continue
        difference = Difference.between(holding.epochs, merged)
        is_of_this_run = holding.writer in old.contents.sound or (
            not merged.keys().isdisjoint(holding.epochs) and difference == Difference()
        )
        if not is_of_this_run and is_of_earlier_run(holding, earlier):
            sources.append(replace(source, is_of_earlier_run=True))
            continue
        until = _sound_below(old, holding.writer)
        if difference.ever_after is not None:
            until = min(until, difference.ever_after)
        usable = {epoch: held for epoch, held in holding.epochs.items() if epoch < until}
        taken = [epoch for epoch in usable if epoch not in merged]
        _complete(usable, merged)
        merged.update({epoch: usable[epoch] for epoch in taken})
        sources.append(replace(source, taken=taken, difference=difference))
    return sources


def _sound_below(old: Salvage, writer: str) -> float:
    """Below which epoch the writer's backend can hold nothing void."""
    if not old.is_healthy:
        return float("inf")
    if old.records:
        return old.contents.sound_below(writer)
    return old.contents.sound.get(writer, float("inf"))  # its epochs may be of this run after all


def _sound(old: Salvage, sources: Sequence[Source]) -> dict[str, float]:
    """Below which epoch each backend can hold nothing void, for those of which it is known."""
    sound = dict(old.contents.sound) if old.is_healthy else {}
    for source in sources:
        below = 0 if source.is_of_earlier_run else source.difference.ever_after
        if below is not None:
            sound[source.writer] = min(below, sound.get(source.writer, below))
    return sound


def _complete(held: Mapping[int, HeldEpoch], merged: dict[int, HeldEpoch]) -> None:
    """Complete what has no time, or no step, by a backend that has."""
    for epoch, one in held.items():
        known = merged.get(epoch)
        if known and None in (known.timestamp, known.step) and agree(known, one):
            time = one.timestamp if known.timestamp is None else known.timestamp
            step = one.step if known.step is None else known.step
            merged[epoch] = replace(known, timestamp=time, step=step)


def _identify(folder: Path, old: Salvage, held: Sequence[HeldEpoch]) -> None:
    """Complete what the journal does not tell of the run."""
    contents = old.contents
    times = [one.timestamp for one in held if one.timestamp is not None]
    layers = dict.fromkeys(
        metric.layer for one in held for metric in map(Metric.parse, one.values) if metric
    )
    old.identify(
        RunLine(
            format=FORMAT,
            run_id=uuid.uuid4().hex,
            created=min(times, default=now_in_ms()),
            layers=tuple(layers) if not contents.layers else (),
            config={},
            home=Home.of(folder),
        )
    )


def _records(old: Salvage, held: Sequence[HeldEpoch]) -> dict[int, EpochRecord]:
    """What a journal tells of these epochs."""
    times = _times(held, old.contents.created)
    layers = set(old.contents.layers)
    records = {}
    for one, time in zip(held, times, strict=True):
        metrics = {
            metric: value for key, value in one.values.items() if (metric := _metric(key, layers))
        }
        scalars = {str(key): value for key, value in one.values.items() if key not in metrics}
        known = old.records.get(one.epoch)
        records[one.epoch] = known or EpochRecord(one.epoch, time, scalars, metrics, step=one.step)
    return records


def _metric(key: str, layers: set[str]) -> Metric | None:
    """The layer metric that a name stands for; None for a scalar of the user's."""
    metric = key if isinstance(key, Metric) else Metric.parse(key)
    is_ours = metric and (metric.layer in layers or is_stat_name(metric.stat))
    return metric if is_ours or isinstance(key, Metric) else None


def _times(held: Sequence[HeldEpoch], created: int) -> list[int]:
    """When the epochs were saved; of those of which nothing tells it, between their neighbours."""
    known = {one.epoch: one.timestamp for one in held if one.timestamp is not None}
    if not known:
        return [created] * len(held)
    guessed = np.interp([one.epoch for one in held], list(known), list(known.values()))
    return [
        round(guess) if one.timestamp is None else one.timestamp
        for one, guess in zip(held, guessed.tolist(), strict=True)
    ]


def _nothing_found(folder: Path, sources: Sequence[Source]) -> str:
    earlier = [source.writer for source in sources if source.is_of_earlier_run]
    broken = [
        f"{source.writer} cannot be read ({source.error})" for source in sources if source.error
    ]
    if earlier:
        return (
            f"{folder}: nothing but an earlier run is in {', '.join(earlier)}; its journal is kept "
            f"here as journal.1.jsonl or the like: to go on with that run, call it {JOURNAL_NAME}"
        )
    found = "; ".join(broken) or "neither its journal nor a local backend of Delve's holds an epoch"
    return f"{folder}: there is nothing to write a journal from: {found}"
