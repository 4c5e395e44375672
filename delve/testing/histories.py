"""What can befall a run between its start and the day when somebody looks at what was recorded.

Each takes the run's folder and the name of an installed writer; whatever befell it, the backend
should hold :func:`delve.testing.journal_rows` in the end, and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from delve.testing.training import train, train_and_die


def fresh(folder: Path, writer: str) -> None:
    """A run of five epochs."""
    train(folder, writer, range(5))


def resumed_after_a_normal_end(folder: Path, writer: str) -> None:
    """It ended well, and goes on behind its last epoch."""
    fresh(folder, writer)
    train(folder, writer, range(5, 7))


def resumed_after_sigkill_in_the_middle_of_an_epoch(folder: Path, writer: str) -> None:
    """It goes on below the last whole epoch."""
    train_and_die(folder, writer, range(4))
    train(folder, writer, range(3, 6))


def resumed_after_sigkill_between_journal_and_writer(folder: Path, writer: str) -> None:
    """The journal knows an epoch that the writer does not."""
    train_and_die(folder, writer, range(2), where="before-writer")
    train(folder, writer, range(3, 5))


def resumed_twice_at_once(folder: Path, writer: str) -> None:
    """Epochs are recorded anew, and some of them once more."""
    fresh(folder, writer)
    train(folder, writer, range(3, 6))
    train(folder, writer, range(4, 7))


def resumed_below_everything(folder: Path, writer: str) -> None:
    """No epoch of the earlier process is left."""
    train(folder, writer, range(4, 8))
    train(folder, writer, range(1, 3))


def new_over_an_old_run(folder: Path, writer: str) -> None:
    """Another run was in the folder."""
    train(folder, writer, range(7))
    train(folder, writer, range(2))


def chosen_late(folder: Path, writer: str) -> None:
    """The writer is named when the run has epochs already."""
    train(folder, "print", range(4))
    train(folder, writer, range(4, 6))


HISTORIES = (
    fresh,
    resumed_after_a_normal_end,
    resumed_after_sigkill_in_the_middle_of_an_epoch,
    resumed_after_sigkill_between_journal_and_writer,
    resumed_twice_at_once,
    resumed_below_everything,
    new_over_an_old_run,
    chosen_late,
)
