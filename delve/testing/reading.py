"""What a writer promises that can read its backend back."""

from __future__ import annotations

from pathlib import Path

from delve.delivery.checked_writer import check_writer
from delve.delivery.holdings import Holding, read_holding
from delve.journal.contents import Contents
from delve.journal.reading import JOURNAL_NAME
from delve.journal.salvage import salvage
from delve.testing.base import Record, WriterTests, needs
from delve.testing.recording import Recording
from delve.testing.rows import Row, sample_rows


class ReadingContract(WriterTests):
    """``held_epochs`` gives what was recorded, and leaves the backend as it is."""

    @needs("held_epochs", "save")
    def test_what_was_recorded_is_read_back(self, record: Record) -> None:
        """With what the journal remembers, and also where the journal is lost."""
        rows = sample_rows(range(4))
        recording = record("held_epochs must give every epoch as it was recorded", *rows)
        before = _files(recording.folder)
        self._check(recording, salvage(recording.folder).contents, rows)
        (recording.folder / JOURNAL_NAME).unlink()
        recording.promise += ", also where the journal is lost"
        self._check(recording, Contents(), rows)
        del before[recording.folder / JOURNAL_NAME]
        assert _files(recording.folder) == before, "held_epochs must change nothing"

    @needs("held_epochs", "save")
    def test_what_was_saved_before_a_kill_is_read_back(self, record: Record) -> None:
        """Every saved epoch that the backend holds, and nothing of the one that was not saved."""
        rows = sample_rows(range(3))
        recording = record("after a kill held_epochs must give saved epochs as they were recorded")
        recording.open()
        recording.save(*rows)
        recording.stage(Row(3, {"never saved": 0.5}))
        self.abandon(recording.writer)
        held = self._holding(recording, Contents())
        # A writer may put off what it can be fed again.
        self._check(recording, Contents(), rows[: len(held.epochs)])

    @needs("held_epochs")
    def test_where_nothing_was_recorded_nothing_is_read_back(self, record: Record) -> None:
        """The folder may be empty, and a run may have no epoch yet."""
        recording = record("held_epochs must give nothing where nothing was recorded")
        self._check(recording, Contents(), [])
        recording.open()
        self._check(recording, Contents(), [])

    def _holding(self, recording: Recording, contents: Contents) -> Holding:
        writer = self.make_writer(recording.folder)
        named = check_writer(type(recording.writer).__name__, writer)
        holding = read_holding(named, recording.folder, contents)
        assert not holding.error, f"{recording.promise}; held_epochs raised {holding.error!r}"
        return holding

    def _check(self, recording: Recording, contents: Contents, rows: list[Row]) -> None:
        held = self._holding(recording, contents).epochs
        points = [(epoch, name, v) for epoch, one in held.items() for name, v in one.values.items()]
        self.check_points(points, recording, rows)


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
