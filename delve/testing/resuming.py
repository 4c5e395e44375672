"""What a writer promises where a run goes on, is repeated, or begins anew."""

from __future__ import annotations

import pytest

from delve.testing.base import Record, WriterTests, needs
from delve.testing.recording import Fault, Recording
from delve.testing.rows import Row, sample_rows

FIRST_PART = "the first part of the run must be recorded"
EPOCHS = 4


class ResumingContract(WriterTests):
    """After ``resume_from_saved_state(N)`` the backend holds exactly the epochs below N."""

    @pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
    @needs("resume_from_saved_state")
    def test_resume_keeps_what_is_below_and_goes_on(self, record: Record, epoch: int) -> None:
        """At every epoch, the one after the last included."""
        old, new = sample_rows(range(EPOCHS)), sample_rows([epoch], part=2)
        record(FIRST_PART, *old)
        promise = (
            f"after a resume at epoch {epoch} the backend must hold {_up_to(epoch)} of before "
            f"and epoch {epoch} of after, each exactly once"
        )
        resumed = record(promise, *new, initial_epoch=epoch)
        _check_answer(resumed, epoch)
        self.check_scalars(resumed, old[:epoch] + new)

    @needs("resume_from_saved_state", "save")
    def test_resume_after_a_kill(self, record: Record) -> None:
        """Every saved epoch is there, and nothing of the one that was not saved."""
        old, new = sample_rows(range(3)), sample_rows([3], part=2)
        killed = record(FIRST_PART)
        killed.open()
        killed.save(*old)
        killed.stage(Row(3, {"never saved": 0.5, "loss": 99.0}))
        self.abandon(killed.writer)
        promise = (
            "after a kill in epoch 3 and a resume there the backend must hold epochs 0-2, and "
            "epoch 3 without what was logged before the kill, each exactly once"
        )
        self.check_scalars(record(promise, *new, initial_epoch=3), old + new)

    @needs("resume_from_saved_state")
    def test_resume_before_the_first_epoch(self, record: Record) -> None:
        """A run that began at epoch 3 is resumed at 1: all that it held is void."""
        record(FIRST_PART, *sample_rows(range(3, 6)), initial_epoch=3)
        new = sample_rows([1, 2], part=2)
        promise = (
            "after a resume at epoch 1 of a run that began at epoch 3 the backend must hold the "
            "new epochs 1-2 and nothing else"
        )
        self.check_scalars(record(promise, *new, initial_epoch=1), new)

    @needs("resume_from_saved_state", "save")
    def test_resume_brings_what_the_backend_missed(self, record: Record) -> None:
        """It says what it lacks, and is fed that from the journal."""
        rows = sample_rows(range(EPOCHS))
        down = Fault("save", range(2, 99), reached=False)
        record("a backend that is down must not fail the writer later", *rows, faults=[down])
        promise = (
            "resume_from_saved_state must answer at most 2, the first epoch that the backend "
            "lacks, so that it is fed epochs 2-3 and holds each exactly once"
        )
        resumed = record(promise, initial_epoch=EPOCHS)
        resumed.open()
        resumed.close()
        if resumed.answer is None:
            pytest.skip("the writer answers None, it cannot tell: nothing is fed again")
        _check_answer(resumed, EPOCHS)
        assert resumed.answer <= 2, f"{promise}; it answered {resumed.answer}"
        self.check_scalars(resumed, rows)

    @needs("resume_from_saved_state", "save")
    def test_resume_can_be_repeated(self, record: Record) -> None:
        """The backend did it, and the core does not know: it asks again."""
        old, new = sample_rows(range(EPOCHS)), sample_rows([2], part=2)
        record(FIRST_PART, *old)
        promise = (
            "after a resume at epoch 2 that was repeated, because its answer got lost, the "
            "backend must hold epochs 0-1 of before and epoch 2 of after, each exactly once"
        )
        lost = Fault("resume_from_saved_state", [0], reached=True)
        self.check_scalars(record(promise, *new, initial_epoch=2, faults=[lost]), old[:2] + new)

    @needs("start", "save")
    def test_start_can_be_repeated(self, record: Record) -> None:
        """The same for a new run."""
        rows = sample_rows(range(2))
        promise = (
            "after a start that was repeated, because its answer got lost, the backend must hold "
            "each epoch exactly once"
        )
        recording = record(promise, *rows, faults=[Fault("start", [0], reached=True)])
        self.check_scalars(recording, rows)

    @needs("save")
    def test_an_epoch_fed_again_is_held_once(self, record: Record) -> None:
        """Feeding again uses the same values and timestamps."""
        rows = sample_rows(range(EPOCHS))
        promise = "an epoch that is fed again, with the same values, must be held exactly once"
        recording = record(promise, faults=[Fault("save", [1], reached=True)])
        if not recording.takes_epoch:
            pytest.skip("the writer is not told the epoch, so it is never fed one again")
        recording.open()
        recording.save(*rows)
        recording.close()
        self.check_scalars(recording, rows)

    @needs("start")
    def test_a_new_run_leaves_nothing_of_the_old_one(self, record: Record) -> None:
        """``initial_epoch=0`` in the folder of an earlier run."""
        record(FIRST_PART, *sample_rows(range(EPOCHS)))
        rows = [Row(0, {"loss": 0.5}), Row(1, {"loss": 0.25})]
        promise = "a new run (initial_epoch=0) must hold nothing of an earlier one in its folder"
        self.check_scalars(record(promise, *rows), rows)

    @needs("resume_from_saved_state", "add_array")
    def test_resume_keeps_the_arrays_below(self, record: Record) -> None:
        """As for scalars."""
        old, new = sample_rows(range(EPOCHS), arrays=True), sample_rows([2], part=2, arrays=True)
        record(FIRST_PART, *old)
        promise = (
            "after a resume at epoch 2 the backend must hold the arrays of epochs 0-1 of before "
            "and of epoch 2 of after"
        )
        self.check_arrays(record(promise, *new, initial_epoch=2), old[:2] + new)

    @needs("start", "add_array")
    def test_a_new_run_leaves_no_arrays_of_the_old_one(self, record: Record) -> None:
        """As for scalars."""
        record(FIRST_PART, *sample_rows(range(EPOCHS), arrays=True))
        rows = sample_rows([0], part=2, arrays=True)
        promise = "a new run (initial_epoch=0) must hold no array of an earlier one in its folder"
        self.check_arrays(record(promise, *rows), rows)


def _up_to(epoch: int) -> str:
    return "epoch 0" if epoch == 1 else f"epochs 0-{epoch - 1}"


def _check_answer(resumed: Recording, epoch: int) -> None:
    answer = resumed.answer
    assert answer is None or (isinstance(answer, int) and 0 <= answer <= epoch), (
        f"resume_from_saved_state({epoch}) must answer the first epoch that the backend lacks, "
        f"from 0 to {epoch}, or None; it answered {answer!r}"
    )
