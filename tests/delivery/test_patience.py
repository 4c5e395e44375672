"""A backend that is slow, but answers, takes no more of a training than it may."""

import math
import time

import pytest
from torch import nn

from delve import SaturationTracker
from delve.delivery import attempts, channel
from delve.errors import ArgumentError


class Slow:
    """Takes its time over each epoch."""

    def __init__(self, seconds, hook="save"):
        self.seconds, self.hook = seconds, hook
        self.epochs, self.left, self.arrays = [], {}, []

    def wait(self, hook, run):
        self.left.setdefault(hook, []).append(run.time_left())
        if hook == self.hook:
            time.sleep(self.seconds)

    def start(self, run):
        self.wait("start", run)

    def resume_from_saved_state(self, initial_epoch, run):
        self.wait("resume", run)
        return run.first_lacking(())

    def save(self, epoch, run):
        self.wait("save", run)
        self.epochs.append(epoch)

    def close(self, error, run):
        self.wait("close", run)


@pytest.fixture
def quick(monkeypatch):
    """All that takes seconds takes hundredths."""
    monkeypatch.setattr(attempts, "SLOW_EPOCH", 0.09)
    monkeypatch.setattr(channel, "CATCH_UP_TIME", 0.02)


def record(folder, writer, epochs, **options):
    begun = time.monotonic()
    tracker = SaturationTracker(folder, writer, nn.Linear(2, 2), **options)
    opened = time.monotonic()
    for epoch in range(tracker.epoch, epochs):
        tracker.add_scalar("loss", 1 / (epoch + 1))
        tracker.save()
    trained = time.monotonic()
    tracker.close()
    return opened - begun, trained - opened, time.monotonic() - trained


def test_a_slow_writer_falls_behind_and_gets_all_at_the_end(quick, tmp_path, caplog):
    writer = Slow(0.1)
    _, training, _ = record(tmp_path / "run", writer, 30)
    assert writer.epochs == list(range(30))
    assert training < 30 * 0.1 / 3
    assert caplog.text.count("is slow") == 1
    assert "did not get" not in caplog.text


def test_what_is_left_when_patience_ends_is_named(quick, tmp_path, caplog):
    writer = Slow(0.1)
    *_, closing = record(tmp_path / "run", writer, 30, patience=0.5)
    assert 4 <= len(writer.epochs) < 15
    assert closing < 3
    assert f"did not get epochs {len(writer.epochs)}-29" in caplog.text


def test_the_opening_of_a_resumed_run_ends_with_patience_too(quick, tmp_path):
    record(tmp_path / "run", Slow(0.0), 40)
    writer = Slow(0.1)
    opening, *_ = record(tmp_path / "run", writer, 40, initial_epoch=40, patience=0.5)
    assert opening < 3
    assert 4 <= len(writer.epochs) < 30
    assert writer.epochs == list(range(len(writer.epochs)))


def test_a_slow_writer_of_arrays_gets_each_epoch_when_it_is_there(quick, tmp_path):
    import torch

    class Arrays(Slow):
        def add_array(self, name, epoch):
            self.arrays.append(epoch)

    writer, layer = Arrays(0.05), nn.Linear(2, 2)
    tracker = SaturationTracker(tmp_path / "run", writer, layer, stats=["cov"])
    for _ in range(6):
        layer(torch.randn(8, 2))
        tracker.add_saturations()
    tracker.close()
    assert writer.arrays == writer.epochs == list(range(6))


def test_a_writer_is_told_how_much_time_there_is(tmp_path):
    writer = Slow(0.0)
    record(tmp_path / "run", writer, 3, patience=33.0)
    assert 20 < writer.left["start"][0] <= 33
    assert all(5 < left <= attempts.ATTEMPT_TIME for left in writer.left["save"])
    assert 5 < writer.left["close"][0] <= attempts.ATTEMPT_TIME


def test_a_writer_that_is_slow_to_open_alone_is_not_put_off(quick, tmp_path, caplog):
    writer = Slow(0.2, hook="start")
    tracker = SaturationTracker(tmp_path / "run", writer, nn.Linear(2, 2))
    tracker.save()
    assert writer.epochs == [0]
    tracker.close()
    assert "slow" not in caplog.text


def test_a_writer_that_is_slow_now_and_then_is_not_put_off(quick, tmp_path, caplog):
    """As one that draws a picture now and then."""

    class Draws(Slow):
        def wait(self, hook, run):
            if hook == "save" and len(self.epochs) % 3 != 2:
                time.sleep(0.2)

    writer = Draws(0.0)
    tracker = SaturationTracker(tmp_path / "run", writer, nn.Linear(2, 2))
    for epoch in range(9):
        tracker.save()
        assert writer.epochs == list(range(epoch + 1))
    tracker.close()
    assert "slow" not in caplog.text


def test_a_quick_writer_is_never_put_off(tmp_path, caplog):
    writer = Slow(0.0)
    record(tmp_path / "run", writer, 50)
    assert writer.epochs == list(range(50))
    assert "slow" not in caplog.text


@pytest.mark.parametrize("patience", [0, -1.0, math.nan, "10", True, None])
def test_patience_is_a_time(patience, tmp_path):
    with pytest.raises(ArgumentError, match="patience must be seconds"):
        SaturationTracker(tmp_path / "run", "print", nn.Linear(2, 2), patience=patience)
    assert not (tmp_path / "run").exists()
