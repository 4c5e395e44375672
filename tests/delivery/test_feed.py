"""The calls that a writer gets for an epoch, in which order and with what."""

from pathlib import Path

import numpy as np
import pytest
from support.deliveries import FC, SPECTRUM, TIME

from delve.delivery.checked_writer import check_writer
from delve.delivery.feed import Feed
from delve.errors import RejectedError
from delve.records import EpochRecord, Metric, RunInfo

SAMPLE = Metric("train", "embedded-sample", "fc")
RECORD = EpochRecord(3, TIME, {"loss": 0.5, "accuracy": 0.9}, {FC: 0.25})
ARRAYS = {SPECTRUM: np.arange(3.0), SAMPLE: np.ones((4, 2))}


class Takes:
    """Notes each call, and may fail in one of them."""

    def __init__(self, failing="", error=ConnectionError):
        self.calls, self.failing, self.error = [], failing, error
        self.closed = 0

    def note(self, hook, *given):
        if hook == self.failing:
            raise self.error
        self.calls.append((hook, *given))

    def add_scalar(self, name, value, epoch, timestamp):
        self.note("add_scalar", name, value, epoch, timestamp)

    def add_scalars(self, prefix, value_dict, global_step, timestamp, sample_value_dict):
        self.samples = sample_value_dict
        self.note("add_scalars", prefix, dict(value_dict), global_step, timestamp)

    def add_array(self, name, value, epoch, timestamp):
        assert not value.flags.writeable
        self.note("add_array", name, value.tolist(), epoch, timestamp)

    def save(self, epoch, timestamp):
        self.note("save", epoch, timestamp)

    def close(self, error):
        self.closed += 1
        self.note("close", error)


def feed_of(writer, **run):
    info = RunInfo(Path("run"), "id", TIME, **run)
    return Feed(check_writer("it", writer), info)


def test_an_epoch_comes_whole_in_the_order_of_a_run():
    writer = Takes()
    feed_of(writer).epoch(RECORD, ARRAYS)
    assert writer.calls == [
        ("add_scalar", "loss", 0.5, 3, TIME),
        ("add_scalar", "accuracy", 0.9, 3, TIME),
        ("add_scalars", "", {FC: 0.25}, 3, TIME),
        ("add_array", SPECTRUM, [0, 1, 2], 3, TIME),
        ("add_array", SAMPLE, [[1, 1]] * 4, 3, TIME),
        ("save", 3, TIME),
    ]
    assert list(writer.samples) == [SAMPLE]
    assert not writer.samples[SAMPLE].flags.writeable
    assert ARRAYS[SAMPLE].flags.writeable


def test_an_epoch_without_metrics_is_saved_all_the_same():
    writer = Takes()
    feed_of(writer).rest_of(EpochRecord(0, TIME, {}, {}), {})
    assert writer.calls == [("save", 0, TIME)]


@pytest.mark.parametrize("hook", ["add_scalar", "add_scalars", "add_array", "save"])
def test_an_epoch_in_which_it_failed_is_one_that_it_may_hold_in_part(hook):
    feed = feed_of(Takes(hook))
    assert (feed.begun, feed.saved) == (None, None)
    with pytest.raises(ConnectionError):
        feed.epoch(RECORD, ARRAYS)
    assert (feed.begun, feed.saved) == (3, None)


def test_an_epoch_that_it_has_saved_is_begun_no_more():
    feed = feed_of(Takes())
    feed.epoch(RECORD, {})
    assert (feed.begun, feed.saved) == (None, 3)
    feed.scalar("loss", 0.4, 4, TIME)
    assert (feed.begun, feed.saved) == (4, 3)


def test_what_is_refused_is_left_out_of_this_epoch_and_of_all_to_come():
    writer = Takes("add_scalars", RejectedError([FC], "no"))
    feed = feed_of(writer)
    feed.epoch(RECORD, {})
    scalars = [("add_scalar", "loss", 0.5, 3, TIME), ("add_scalar", "accuracy", 0.9, 3, TIME)]
    assert writer.calls == [*scalars, *scalars, ("save", 3, TIME)]
    assert FC in feed.refusals
    writer.calls.clear()
    feed.rest_of(RECORD, {})
    assert writer.calls == [("save", 3, TIME)]


@pytest.mark.parametrize(("seconds", "closings"), [(0.5, 2), (1.5, 1)])
def test_a_writer_that_fails_to_close_quickly_is_closed_once_more(clock, seconds, closings):
    class Slow(Takes):
        def note(self, *given):
            clock.now += seconds
            super().note(*given)

    writer = Slow("close")
    with pytest.raises(ConnectionError):
        feed_of(writer).close(None)
    assert writer.closed == closings


def test_hyperparameters_are_a_copy_all_the_way_down():
    config = {"model": {"widths": [1, 2]}, "lr": 0.1}
    told = feed_of(Takes(), config=config).run.config
    assert told == config
    told["model"]["widths"].append(3)
    assert config["model"]["widths"] == [1, 2]
