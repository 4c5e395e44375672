"""What a writer promises at the end of a run."""

from __future__ import annotations

from delve.testing.base import Record, WriterTests, needs
from delve.testing.recording import Fault
from delve.testing.rows import Row, sample_rows


class ClosingContract(WriterTests):
    """``close`` works at any time, and any number of times."""

    @needs("close")
    def test_a_second_close_does_nothing(self, record: Record) -> None:
        """The core, a context manager and a user may each close."""
        rows = sample_rows(range(2))
        recording = record("a second close must do nothing", *rows)
        recording.close()
        self.check_scalars(recording, rows)

    @needs("close", "save")
    def test_close_after_an_error_keeps_what_was_saved(self, record: Record) -> None:
        """The training raised in the middle of an epoch."""
        rows = sample_rows(range(2))
        promise = "close after an error must keep every saved epoch, and nothing that was not saved"
        recording = record(promise)
        recording.open()
        recording.save(*rows)
        recording.stage(Row(2, {"never saved": 0.5}))
        recording.close(RuntimeError("the training failed"))
        recording.close()
        self.check_scalars(recording, rows)

    @needs("close")
    def test_close_without_a_start(self, record: Record) -> None:
        """Another writer's mistake may end the construction of the tracker first."""
        recording = record("close must work where start was never called")
        recording.close(RuntimeError("another writer failed"))
        recording.close()

    @needs("close", "start")
    def test_close_after_a_start_that_never_succeeded(self, record: Record) -> None:
        """The backend was down from beginning to end."""
        recording = record(
            "close must work where start never succeeded",
            *sample_rows(range(2)),
            faults=[Fault("start", range(99), reached=False)],
        )
        recording.close()
