"""What is wrong with the network of a run, by what its journal holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from delve.journal.stored_run import StoredRun, read_run

if TYPE_CHECKING:  # most processes ask for no notes
    from delve.stats.note import Note


def notes_of(run: StoredRun, epoch: int | None = None) -> list[Note]:
    """What is wrong in a row of the run, by default its last; empty where nothing is.

    Args:
        run: The run.
        epoch: The row.
    """
    from delve.stats.notes import notes_on

    if not run.epochs:
        return []
    first = run.record_of(run.epochs[0])
    last = run.record_of(run.epochs[-1] if epoch is None else epoch)
    if first is None or last is None:
        return []
    return notes_on(run.layers, first.metrics, last.metrics)


def run_notes(folder: Path) -> list[str]:
    """The sentences on the network of the run in a folder; empty where nothing is wrong.

    Args:
        folder: The run's folder.

    Raises:
        JournalError: The journal cannot be read.
    """
    return [str(note) for note in notes_of(read_run(folder))]
