"""What backends hold by themselves, and how it compares with another record of the run."""

import math

import numpy as np
import pytest
from support.json_writers import JsonWriter

from delve import HeldEpoch
from delve.delivery.checked_writer import check_writer
from delve.delivery.holdings import (
    Difference,
    Holding,
    agree,
    is_of_earlier_run,
    read_holding,
    readable_writers,
)
from delve.errors import WriterContractError, WriterNotFoundError
from delve.journal.contents import Contents


def held(*epochs, add=0.0):
    return {epoch: HeldEpoch(epoch, {"loss": epoch + add}) for epoch in epochs}


class Answers:
    def __init__(self, answer):
        self.answer = answer

    def held_epochs(self, run):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def holding_of(folder, writer):
    return read_holding(check_writer("it", writer), folder, Contents())


def test_a_backend_is_read_back_in_rising_order(tmp_path):
    writer = JsonWriter(tmp_path)
    for epoch in (2, 0, 1):
        writer.add_scalar("loss", epoch / 2, epoch)
        writer.save(epoch)
    holding = holding_of(tmp_path, JsonWriter(tmp_path))
    assert list(holding.epochs) == [0, 1, 2]
    assert [one.values for one in holding.epochs.values()] == [{"loss": e / 2} for e in range(3)]
    assert holding.is_exact
    assert holding.error is None


@pytest.mark.parametrize("answer", [None, [], iter(())])
def test_a_backend_that_holds_nothing_is_no_error(tmp_path, answer):
    holding = holding_of(tmp_path, Answers(answer))
    assert (dict(holding.epochs), holding.error) == ({}, None)


@pytest.mark.parametrize(
    "answer",
    [
        [(0, {"loss": 1.0})],
        [HeldEpoch(-1, {})],
        [HeldEpoch(True, {})],
        [HeldEpoch(2**80, {})],
        [HeldEpoch(0, {"loss": "1.0"})],  # type: ignore[dict-item]
        [HeldEpoch(0, {1: 1.0})],  # type: ignore[dict-item]
        [HeldEpoch(0, {}, timestamp=-5)],
        [HeldEpoch(0, {}), "1"],
    ],
)
def test_what_no_journal_could_take_is_an_error(tmp_path, answer):
    holding = holding_of(tmp_path, Answers(answer))
    assert isinstance(holding.error, WriterContractError)
    assert not holding.epochs


@pytest.mark.parametrize("error", [OSError("torn"), ValueError("bad"), RecursionError()])
def test_a_backend_that_cannot_be_read_is_an_error_of_its_own(tmp_path, error):
    assert holding_of(tmp_path, Answers(error)).error is error


def test_one_that_rounds_is_not_exact():
    exact, rounded = HeldEpoch(0, {"loss": 0.1}), HeldEpoch(1, {"loss": 0.1}, is_exact=False)
    assert Holding("it", {0: exact}).is_exact
    assert not Holding("it", {0: exact, 1: rounded}).is_exact


@pytest.mark.parametrize(
    ("one", "other", "is_exact", "same"),
    [
        ({"a": 0.1}, {"a": 0.1}, True, True),
        ({"a": 0.1}, {"a": float(np.float32(0.1))}, True, False),
        ({"a": 0.1}, {"a": float(np.float32(0.1))}, False, True),
        ({"a": 1e300}, {"a": math.inf}, False, True),
        ({"a": math.nan}, {"a": math.nan}, True, True),
        ({"a": math.nan}, {"a": 1.0}, True, False),
        ({"a": 1.0}, {"b": 2.0}, True, True),
        ({"a": 1.0, "b": 1.0}, {"b": 2.0}, True, False),
    ],
)
def test_two_records_of_an_epoch_agree_in_what_both_have(one, other, is_exact, same):
    assert agree(HeldEpoch(0, one), HeldEpoch(0, other, is_exact=is_exact)) is same


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        (held(0, 1, 2), held(0, 1, 2), Difference()),
        (held(0, 1), held(1, 2), Difference()),
        (held(0, 1, 2) | held(1, add=5), held(0, 1, 2), Difference(epochs=(1,))),
        (held(0) | held(1, 2, add=5), held(0, 1, 2), Difference(ever_after=1)),
        (
            held(0, 1, 2, 3) | held(1, 3, add=5),
            held(0, 1, 2, 3),
            Difference(epochs=(1,), ever_after=3),
        ),
        (held(0, 1, add=5), held(0, 1), Difference(ever_after=0)),
    ],
)
def test_damage_is_told_from_a_run_that_went_back(one, other, difference):
    assert Difference.between(one, other) == difference


def test_an_earlier_run_has_to_explain_all():
    runs = [held(0, 1, 2), held(0, 1, add=5)]
    assert is_of_earlier_run(Holding("it", held(0, 1)), runs)
    assert is_of_earlier_run(Holding("it", held(0, 1, add=5)), runs)
    assert not is_of_earlier_run(Holding("it", held(0) | held(1, add=5)), runs)
    assert not is_of_earlier_run(Holding("it", held(0, 3)), runs)
    assert not is_of_earlier_run(Holding("it", {}), runs)


def test_a_writer_that_is_named_must_be_there_and_able_to_read(tmp_path):
    with pytest.raises(WriterContractError, match="'print' cannot read its backend back"):
        list(readable_writers(tmp_path, ["print"]))
    with pytest.raises(WriterNotFoundError):
        list(readable_writers(tmp_path, ["nobodys"]))
    assert "print" not in [writer.name for writer in readable_writers(tmp_path)]
