"""Each type of line is written and read as it says, and the page on the format tells of all."""

import dataclasses
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.errors import JournalError
from delve.journal import line_shapes
from delve.journal.format import (
    LINE_TYPES,
    BeginLine,
    ConfigLine,
    EndLine,
    EpochLine,
    ForkLine,
    HomeLine,
    Line,
    ResumeLine,
    RunLine,
    StateLine,
    check_format,
    first_words,
    line_from,
)
from delve.journal.home import Home
from delve.records import EpochRecord, Metric

PAGE = Path(__file__).parents[2] / "docs" / "journal-format.md"
HOME = Home("/runs/a", "machine", 7)

# One of each with all of its fields, and one with none that can be left out.
LINES = [
    RunLine(1, "ab", 5, ("fc",), {"lr": 0.5}, HOME, replaces_earlier=True),
    RunLine(1, "ab", 5, (), {}),
    EpochLine(3, 9, {"loss": 0.5}, {"train-saturation/fc": 0.25}, ["fc"], {"train": ["fc"]}),
    EpochLine(0, 0, {}, {}),
    EpochLine(4, 9, {}, {}, step=0),
    EpochLine(4, 9, {}, {}),
    EpochLine(4, 9, {}, {}, features={"fc": 64}),
    EpochLine(4, 9, {}, {}),
    ResumeLine(2, 8),
    ResumeLine(2),
    ConfigLine({"lr": 0.25}),
    StateLine("csv", {"file": "metrics.csv"}, opened=True, sound_below=0),
    StateLine("csv", {}),
    HomeLine(HOME, may_be_copy=True),
    HomeLine(None),
    ForkLine("cd", "/runs/b", HOME),
    ForkLine("cd", "/runs/b", None),
    BeginLine(9, "machine", 77),
    BeginLine(0, "", 0),
    EndLine(9, "ValueError"),
    EndLine(9),
]


@pytest.mark.parametrize("line", LINES, ids=repr)
def test_a_line_is_read_as_it_was_written(line):
    content = line.encode(4)
    assert content.startswith(first_words(type(line)))
    entry = json.loads(content)
    assert list(entry)[-2:] == ["line", "crc32"]
    assert entry["line"] == 4
    assert line_from(entry) == line


@pytest.mark.parametrize("line", LINES[::2], ids=repr)
def test_a_field_that_says_nothing_is_left_out(line):
    fields = dataclasses.fields(line)
    told = {field.name for field in fields if getattr(line, field.name) != field.default}
    assert line.as_json().keys() == {"type", *told}


def test_each_type_is_tried_here():
    assert {type(line) for line in LINES} == set(LINE_TYPES.values())


@pytest.mark.parametrize("line", LINES[::2], ids=repr)
def test_a_line_without_a_field_that_it_must_have_is_none(line):
    for field in dataclasses.fields(line):
        if field.default is dataclasses.MISSING and field.name != "format":
            entry = line.as_json()
            del entry[field.name]
            with pytest.raises(ValueError, match=f"type {line.TYPE} without a sound {field.name}"):
                line_from(entry)


@pytest.mark.parametrize(
    "unsound",
    [
        [],
        None,
        {},
        {"type": 1},
        {"type": "epoch"},
        {"type": "note", "line": 0},
        {"type": "note", "line": True},
        ResumeLine(2).as_json() | {"epoch": -1},
        ResumeLine(2).as_json() | {"epoch": True},
        ResumeLine(2).as_json() | {"epoch": 2**53 + 1},
        StateLine("csv", {}).as_json() | {"sound_below": "0"},
        StateLine("csv", {}).as_json() | {"state": []},
        HomeLine(HOME).as_json() | {"home": "/runs/a"},
        EpochLine(0, 0, {}, {}).as_json() | {"scalars": {"loss": "0.5"}},
        EpochLine(0, 0, {}, {}).as_json() | {"metrics": {"train-saturation/fc": None}},
        EpochLine(0, 0, {}, {}).as_json() | {"time": 2**63},
        EpochLine(0, 0, {}, {}).as_json() | {"few_samples": {"train": "fc"}},
        EpochLine(0, 0, {}, {}).as_json() | {"features": {"fc": 0}},
        EpochLine(0, 0, {}, {}).as_json() | {"features": {"fc": True}},
        EndLine(0).as_json() | {"error": 3},
        BeginLine(0, "", 0).as_json() | {"process": "1"},
    ],
)
def test_what_is_no_line_is_told(unsound):
    with pytest.raises(ValueError, match="line"):
        line_from(unsound)


def test_a_type_and_a_field_of_a_later_version_say_nothing():
    assert line_from({"type": "note", "epoch": "?"}) == Line()
    assert line_from(ResumeLine(2).as_json() | {"note": "?"}) == ResumeLine(2)


def test_a_later_format_is_refused_whatever_else_it_holds():
    check_format({"type": "run", "format": 1}, "path")
    check_format({"type": "run", "format": "2"}, "path")
    with pytest.raises(JournalError, match=r"path has format 2.*up to 1; use the newer"):
        check_format({"type": "run", "format": 2}, "path")


@given(st.dictionaries(st.text(), st.floats()), st.dictionaries(st.text(), st.floats()))
def test_an_epoch_is_the_same_after_its_line(scalars, by_layer):
    metrics = {Metric("eval", "saturation", layer): v for layer, v in by_layer.items() if layer}
    record = EpochRecord(3, 9, scalars, metrics, {"eval": ["a"]}, 700)
    line = EpochLine.of(record, ["a"])
    read = line_from(json.loads(line.encode(1)))
    assert repr(read.record) == repr(record)  # type: ignore[attr-defined]
    assert list(read.layers) == ["a"]  # type: ignore[attr-defined]
    assert all(type(metric) is Metric for metric in read.record.metrics)  # type: ignore[attr-defined]


def test_lines_void_what_they_say():
    assert EpochLine(3, 0, {}, {}).voids_from == 3
    assert ResumeLine(2).voids_from == 2
    others = [line for line in LINES if not isinstance(line, EpochLine | ResumeLine)]
    assert {line.voids_from for line in [*others, Line()]} == {math.inf}


@pytest.mark.parametrize("step", [None, 0, 700, 10**15 - 1])
def test_the_shape_of_an_epochs_line_is_that_of_its_type(step):
    """Otherwise every line would be parsed as JSON, and nothing but the time would tell."""
    line = EpochLine(3, 9, {"loss": 0.5}, {"train-saturation/fc": 0.25}, step=step)
    content = line.encode(4)
    line_shapes.learn(content, json.loads(content))
    known = line_shapes.epoch_line_of(content)
    assert known is not None
    assert (known.number, known.line.record) == (4, line.record)  # type: ignore[attr-defined]


# The page


def sections():
    """The fields of each type of line, as the page has them, in their order."""
    _, _, types = PAGE.read_text(encoding="utf-8").partition("\n## Types of lines\n")
    types, _, _ = types.partition("\n## ")
    return {
        section.partition("\n")[0]: re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        for section in types.split("\n### ")[1:]
    }


def test_the_page_has_every_type_and_field_and_no_others():
    assert sections() == {
        name: [field.name for field in dataclasses.fields(line)]
        for name, line in LINE_TYPES.items()
    }


def test_the_page_says_of_each_field_whether_it_is_optional_and_since_when():
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            assert re.fullmatch(r"\|[^|]+\|[^|]+\|[^|]+\| [0-9]+\.[0-9]+\.[0-9]+ \|", line), line
    optional = re.compile(r"^\| `(\w+)` \| [^|]*\boptional\b", re.MULTILINE)
    page = PAGE.read_text(encoding="utf-8")
    for name, line in LINE_TYPES.items():  # type: ignore[assignment]
        section = page.partition(f"\n### {name}\n")[2].partition("\n##")[0]
        assert optional.findall(section) == [
            field.name
            for field in dataclasses.fields(line)
            if field.default is not dataclasses.MISSING
        ]


def test_the_pages_checksum_is_that_of_every_line(tmp_path):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    names = {}
    exec(code, names)
    for line in LINES:
        content = line.encode(12)
        assert names["is_whole"](content)
        assert names["is_whole"](content.replace(b"\n", b"\r\n"))
        assert not names["is_whole"](content.replace(b'"type"', b'"Type"'))
