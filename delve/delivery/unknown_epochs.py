"""Epochs that the backends of a run hold and its journal does not know: what must not be cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from delve.delivery.checked_writer import NamedWriter
from delve.delivery.holdings import (
    HOOK,
    Holding,
    earlier_runs,
    is_of_earlier_run,
    read_holding,
    readable_writers,
)
from delve.errors import DelveError
from delve.journal.contents import Contents
from delve.journal.traces import epochs_of_files, traced_writers
from delve.records import counted_epochs


def unknown_epochs(
    folder: Path, contents: Contents, writers: Sequence[NamedWriter], following: int = 0
) -> list[str]:
    """What the folder's backends hold from an epoch on, in words: ``csv holds epochs 0-5``.

    For a journal that knows of no epoch. What an earlier run in the folder has left is passed
    over, where its journal, which is kept, tells so.

    Args:
        folder: The run's folder.
        contents: What the journal tells.
        writers: The writers that are about to be opened.
        following: The epoch at which the run would go on.
    """
    earlier = earlier_runs(folder, contents.run_id)
    held: dict[str, list[str]] = {}  # who, by what
    unreadable = []
    for holding in _holdings(folder, contents, writers):
        epochs = [epoch for epoch in holding.epochs if epoch >= following]
        was_opened = holding.writer in contents.sound
        if holding.error:
            unreadable.append(f"what {holding.writer} holds cannot be read ({holding.error})")
        elif epochs and (was_opened or not is_of_earlier_run(holding, earlier)):
            held.setdefault(counted_epochs(sorted(epochs)), []).append(holding.writer)
    known: set[int] = set().union(*earlier) if not contents.sound else set()
    for (writer, what), of_files in epochs_of_files(folder).items():
        epochs = sorted(epoch for epoch in of_files if epoch >= following)
        if epochs and not known.issuperset(epochs):
            held.setdefault(f"{what} of {counted_epochs(sorted(epochs))}", []).append(writer)
    return [
        f"{', '.join(names)} hold{'s' if len(names) == 1 else ''} {what}"
        for what, names in held.items()
    ] + unreadable


def _holdings(
    folder: Path, contents: Contents, writers: Sequence[NamedWriter]
) -> Iterator[Holding]:
    """What the writers hold that are to be opened, and those of Delve's that have left files."""
    traced = traced_writers(folder)
    asked = {writer.name: writer for writer in writers if writer.implements(HOOK)}
    for name in traced:
        if name not in asked:
            asked |= {writer.name: writer for writer in _installed(folder, name)}
    for writer in asked.values():
        holding = read_holding(writer, folder, contents)
        if not holding.error or writer.name in traced:
            yield holding


def _installed(folder: Path, name: str) -> list[NamedWriter]:
    try:
        return list(readable_writers(folder, [name]))
    except DelveError:  # then it changes nothing either
        return []
