"""A line as bytes: its checksum, its end, and what JSON cannot hold."""

import io
import json
import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.errors import JournalError
from delve.journal import lines
from delve.journal.lines import encode, is_whole, lines_of, parse, to_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
LINE = encode({"type": "epoch", "epoch": 3, "scalars": {"loss": 0.5}}, 5)


def test_number_and_checksum_are_the_last_fields():
    assert LINE.isascii()
    content = b'{"type": "epoch", "epoch": 3, "scalars": {"loss": 0.5}, "line": 5}'
    checksum = f"{zlib.crc32(content):08x}".encode()
    assert content[:-1] + b', "crc32": "' + checksum + b'"}\n' == LINE
    assert b'"line"' not in encode({"type": "epoch"})


@given(st.dictionaries(st.text(), VALUES))
def test_what_is_written_is_one_line_that_is_read_back(entry):
    line = encode(entry, 1)
    assert line.index(b"\n") == len(line) - 1
    read = parse(line)
    assert {name: value for name, value in read.items() if name not in ("line", "crc32")} == {
        name: value for name, value in entry.items() if name not in ("line", "crc32")
    }


@given(st.integers(0, len(LINE) - 1), st.integers(0, 255))
def test_a_changed_byte_is_told(place, byte):
    changed = bytearray(LINE)
    changed[place] = byte
    changed = bytes(changed)  # type: ignore[assignment]
    if changed.rstrip(b"\r\n") != LINE.rstrip(b"\r\n"):
        assert not is_whole(changed) or b', "crc32": ' not in changed


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r\r\n"])
def test_the_end_of_a_line_with_a_checksum_is_forgiven(end):
    assert is_whole(LINE.rstrip(b"\n") + end)
    assert is_whole(b'{"type": "run"}' + end) == end.endswith(b"\n")


def test_what_json_cannot_hold_becomes_its_number_or_its_text():
    entry = {"a": np.float32(0.5), "b": np.array([2]), "c": math.nan, "d": {1: (math.inf, object)}}
    assert json.loads(to_json(entry)) == {
        "a": 0.5,
        "b": 2,
        "c": "NaN",
        "d": {"1": ["Infinity", str(object)]},
    }
    assert json.loads(to_json({"a": np.float64("-inf"), "b": np.float32("nan")})) == {
        "a": "-Infinity",
        "b": "NaN",
    }


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 200_000, b"\xff", b'{"a": \xc3\xa4}'])
def test_what_is_no_json_is_told_in_one_way(content):
    with pytest.raises(ValueError):  # noqa: PT011 - json says it in many ways
        parse(content)


def test_of_a_line_that_is_too_long_the_beginning_is_given_and_its_length(monkeypatch):
    monkeypatch.setattr(lines, "LONGEST", 8)
    content = b"1234567\n12345678\n123456789012\n1"
    assert list(lines_of(io.BytesIO(content))) == [
        (b"1234567\n", 8),
        (b"12345678", 9),
        (b"12345678", 13),
        (b"1", 1),
    ]


def test_a_line_without_an_end_is_not_looked_through_for_ever(monkeypatch, tmp_path):
    monkeypatch.setattr(lines, "LONGEST", 8)
    monkeypatch.setattr(lines, "_MOST_SKIPPED", 100)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"x" * 1000)
    with path.open("rb") as file, pytest.raises(JournalError, match="more than 8 bytes"):
        list(lines_of(file))
