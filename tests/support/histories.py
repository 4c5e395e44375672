"""What can befall a run between its start and the day when somebody looks at what was recorded."""

from __future__ import annotations

from pathlib import Path

from support.recorded_runs import record, record_and_die


def fresh(folder: Path, writer: str) -> None:
    record(folder, writer, range(5))


def resumed_after_a_normal_end(folder: Path, writer: str) -> None:
    fresh(folder, writer)
    record(folder, writer, range(5, 7))


def resumed_after_sigkill_in_the_middle_of_an_epoch(folder: Path, writer: str) -> None:
    record_and_die(folder, writer, range(4))
    record(folder, writer, range(3, 6))


def resumed_after_sigkill_between_journal_and_writer(folder: Path, writer: str) -> None:
    record_and_die(folder, writer, range(2), where="before-writer")
    record(folder, writer, range(3, 5))


def resumed_twice_at_once(folder: Path, writer: str) -> None:
    fresh(folder, writer)
    record(folder, writer, range(3, 6))
    record(folder, writer, range(4, 7))


def resumed_below_everything(folder: Path, writer: str) -> None:
    record(folder, writer, range(4, 8))
    record(folder, writer, range(1, 3))


def new_over_an_old_run(folder: Path, writer: str) -> None:
    record(folder, writer, range(7))
    record(folder, writer, range(2))


def chosen_late(folder: Path, writer: str) -> None:
    record(folder, "print", range(4))
    record(folder, writer, range(4, 6))


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
