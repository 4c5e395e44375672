"""Records of numbers are those that TensorBoard's own messages make, byte for byte."""

import math
import random

import numpy as np
import pytest
from delve_tensorboard import records
from delve_tensorboard.rows import Rows, RowTemplate
from delve_tensorboard.summaries import as_text
from delve_tensorboard.tags import LayerTags
from tensorboard.compat.proto.event_pb2 import Event

from delve import Metric


def as_messages(tags, numbers, epoch, timestamp):
    event = Event(step=epoch, wall_time=timestamp / 1000)
    event.summary.SetInParent()
    for tag, number in zip(tags, numbers, strict=True):
        event.summary.value.add(tag=as_text(tag), simple_value=number)
    return records.frame(event.SerializeToString())


NAMES = {
    "none": [],
    "one": ["loss"],
    "some": ["saturation/000.a", "saturation/001.b.c", "é", "", "\ud800"],
    "many": [f"saturation/{n:03d}.layer{n}" for n in range(400)],
    "long": ["x" * 127, "y" * 128, "z" * 20_000],
    "the same": ["loss", "loss"],
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize(("epoch", "time"), [(0, 0), (1, 1), (127, 10**12), (2**40, 10**12 + 7)])
def test_a_record_is_the_one_that_messages_make(names, epoch, time):
    tags, draw = NAMES[names], random.Random(epoch)
    template = RowTemplate(tags)
    for _ in range(3):
        numbers = [draw.choice([draw.random(), -draw.random() * 1e30, 1e-42]) for _ in tags]
        assert template.record(numbers, epoch, time) == as_messages(tags, numbers, epoch, time)


def test_numbers_that_single_precision_lacks_are_what_messages_make_of_them():
    numbers = [math.inf, -math.inf, math.nan, -0.0, 0.0, 1e39, -1e300, 1e-50, 1, np.float64(0.1)]
    tags = [f"tag{place}" for place in range(len(numbers))]
    assert RowTemplate(tags).record(numbers, 3, 5000) == as_messages(tags, numbers, 3, 5000)


def test_each_run_gets_its_own_numbers_however_they_alternate():
    tags = LayerTags({"a": 0, "b": 1})
    rows = Rows("", tags)
    train = {Metric("train", "saturation", layer): n / 7 for n, layer in enumerate("ab")}
    evaluated = {Metric("eval", "saturation", layer): n / 3 for n, layer in enumerate("ab")}
    mixed = {
        key: value
        for pair in zip(evaluated, train, strict=True)
        for key, value in ((pair[0], evaluated[pair[0]]), (pair[1], train[pair[1]]))
    }
    for epoch, metrics in enumerate((train, mixed, {}, train, evaluated, mixed)):
        expected = {"": as_messages(["loss"], [epoch / 4], epoch, 1000)}
        for mode, own in (("train", train), ("eval", evaluated)):
            shown = {key: value for key, value in metrics.items() if key in own}
            if shown:
                names = [tags.tag(key) for key in shown]
                expected[mode] = as_messages(names, shown.values(), epoch, 1000)
        assert rows.records({"loss": epoch / 4}, metrics, epoch, 1000) == expected


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 1023, 1024, 1025, 5000])
def test_whatever_sums_a_record_agrees(length):
    content = random.Random(length).randbytes(length)
    assert records.crc32c(content) == records.in_blocks(content)
    assert records.in_blocks(b"123456789") == 0xE3069283  # of RFC 3720
