"""Lines of a known shape are read as JSON reads them, or as any other line."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.journal import line_shapes
from delve.journal.format import line_from
from delve.journal.lines import encode, is_whole
from delve.journal.values import finite
from delve.records import Metric

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
VALUES = st.floats()


def line_of(scalars, metrics, epoch=3, number=5, **more):
    entry = {"type": "epoch", "epoch": epoch, "time": 1_700_000_000_000, "scalars": scalars}
    return encode(entry | {"metrics": metrics} | more, number)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(line_shapes, "_shapes", {})


def learn(line):
    line_shapes.learn(line, json.loads(line))


@given(
    scalars=st.dictionaries(NAMES, VALUES, max_size=4),
    layers=st.dictionaries(NAMES, VALUES, max_size=4),
    epoch=st.integers(0, 2**53),
    step=st.none() | st.integers(0, 2**53),
    data=st.data(),
)
def test_what_is_read_is_what_json_reads(scalars, layers, epoch, step, data):
    metrics = {f"train-saturation/{layer}": value for layer, value in layers.items()}
    more = {} if step is None else {"step": step}
    learn(line_of(scalars, metrics, **more))
    again = {name: data.draw(VALUES) for name in metrics}
    line = line_of(scalars, again, epoch, **more)
    found = line_shapes.epoch_line_of(line)
    if found is not None:
        number, read = found
        record = read.record  # type: ignore[attr-defined]
        told = json.loads(line)
        assert (record.epoch, record.timestamp, number) == (epoch, told["time"], 5)
        assert record.step == step
        assert spelt(record.scalars) == list(told["scalars"].items())
        assert spelt(record.metrics) == list(told["metrics"].items())
        assert all(type(metric) is Metric for metric in record.metrics)
        assert list(read.scalars) == list(scalars)  # type: ignore[attr-defined]
        assert list(read.metrics) == list(metrics)  # type: ignore[attr-defined]
        slowly = line_from(told).record  # type: ignore[attr-defined]
        assert repr(record) == repr(slowly)  # where NaN is like NaN


def spelt(values):
    """The items as JSON holds them."""
    return [(name, finite(value)) for name, value in values.items()]


def test_most_lines_are_read_so():
    learn(line_of({"loss": 0.5}, {"train-saturation/a": 1.0, "eval-saturation/a": 1e-5}))
    for value in (0.25, 1e300, -5e-324, 12345678.9, 1e16, -0.0):
        found = line_shapes.epoch_line_of(
            line_of({"loss": value}, {"train-saturation/a": value, "eval-saturation/a": value})
        )
        assert found is not None
        record = found[1].record  # type: ignore[attr-defined]
        assert [*record.scalars.values(), *record.metrics.values()] == [value] * 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_so_are_those_with_what_is_no_number_of_json(value):
    """The same layers have none epoch by epoch, as one without variance has no effective rank."""
    metrics = {"train-saturation/a": value, "eval-saturation/NaN": 0.5}
    for scalar, again in ((0.25, value), (value, 0.25), (value, value)):
        learn(line_of({"loss": scalar}, metrics))
        line = line_of({"loss": again}, metrics)
        found = line_shapes.epoch_line_of(line)
        assert found is not None
        record = found[1].record  # type: ignore[attr-defined]
        assert spelt(record.scalars) == [("loss", finite(again))]
        assert spelt(record.metrics) == [*finite(metrics).items()]
    assert len(line_shapes._shapes) == 1


LINE = line_of({"loss": 0.5}, {"train-saturation/a": 1.0, "eval-saturation/a": 2.0})


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(b"0.5", b'"nan"'),
        LINE.replace(b"0.5", b'"-NaN"'),
        LINE.replace(b"0.5", b'"NaN'),
        LINE.replace(b'"loss": 0.5', b'"NaN": 0.5'),
        line_of({"other": 0.5}, {"train-saturation/a": 1.0, "eval-saturation/a": 2.0}),
        line_of({"loss": 0.5}, {"train-saturation/a": 1.0}),
        line_of({"loss": 0.5}, {"eval-saturation/a": 1.0, "train-saturation/a": 2.0}),
        LINE.replace(b"0.5", b"00.5"),
        LINE.replace(b"0.5", b"true"),
        LINE.replace(b"0.5", b"{}"),
        LINE.replace(b"0.5", b"0.5, 7"),
        LINE.replace(b"0.5", b"1_0.5"),
        LINE.replace(b"0.5", b"9" * 400),
        LINE.replace(b'"epoch": 3', b'"epoch": -3'),
        LINE.replace(b'"epoch": 3', b'"epoch": 03'),
        LINE.replace(b'"epoch": 3', b'"epoch": 3.0'),
        LINE.replace(b'"time": 1', b'"time": 91'),
        LINE.replace(b"}", b"", 1),
        LINE.replace(b", ", b","),
        b"x" + LINE,
        LINE[:-30],
        LINE + LINE,
        b"",
        b'"' * 31,
    ],
)
def test_any_other_line_is_not(line):
    learn(LINE)
    assert line_shapes.epoch_line_of(LINE) is not None
    assert line_shapes.epoch_line_of(line) is None


STEPPED = line_of({"loss": 0.5}, {"train-saturation/a": 1.0}, step=700)


@pytest.mark.parametrize(
    "line",
    [
        line_of({"loss": 0.5}, {"train-saturation/a": 1.0}),
        line_of({"loss": 0.5}, {"train-saturation/a": 1.0}, step=None),
        line_of({"loss": 0.5}, {"train-saturation/a": 1.0}, stop=700),
        STEPPED.replace(b"700", b"-7"),
        STEPPED.replace(b"700", b"7.0"),
        STEPPED.replace(b"700", b"07"),
        STEPPED.replace(b"700", b"true"),
        STEPPED.replace(b"700", b"7, 8"),
    ],
)
def test_a_line_with_a_step_is_of_a_shape_of_its_own(line):
    learn(STEPPED)
    found = line_shapes.epoch_line_of(STEPPED)
    assert found is not None
    assert found[1].record.step == 700  # type: ignore[attr-defined]
    assert line_shapes.epoch_line_of(line) is None


@given(place=st.integers(0, len(LINE) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_let_pass_only_where_json_lets_it_pass(place, byte):
    learn(LINE)
    changed = bytearray(LINE)
    changed[place] = byte
    if line_shapes.epoch_line_of(bytes(changed)) is not None and is_whole(bytes(changed)):
        line_from(json.loads(changed))


@pytest.mark.parametrize(
    "line",
    [
        line_of({"loss": 0.5}, {}, layers=["a"]),
        line_of({"loss": 0.5}, {}, few_samples={"train": ["a"]}),
        line_of({"l\u00f6ss": 0.5}, {}),
        line_of({'lo"ss': 0.5}, {}),
        line_of({"loss": 0.5}, {"no metric": 1.0}),
        line_of({f"scalar {n}": 0.5 for n in range(20_000)}, {}),
        LINE.replace(b'"loss": 0.5', b'"loss": 0.5, "loss": 0.5'),
        encode({"type": "resume", "epoch": 3}, 5),
    ],
    ids=range(8),
)
def test_what_is_out_of_the_ordinary_is_not_remembered(line):
    learn(line)
    assert not line_shapes._shapes


def test_no_more_than_a_few_shapes_are_remembered():
    for number in range(1000):
        learn(line_of({f"scalar {number}": 0.5}, {}))
    assert len(line_shapes._shapes) <= 32
