"""Each line of a short journal is parsed once; what is kept of a long one has an end."""

import json

import pytest
from click.testing import CliRunner
from support.journals import saturations, write_run

from delve.cli import main
from delve.errors import JournalError
from delve.journal import line_shapes
from delve.journal.format import EpochLine, RunLine, StateLine
from delve.journal.parsing import LineParser
from delve.journal.reading import JOURNAL_NAME
from delve.journal.stored_run import read_run

EPOCHS = [EpochLine(epoch, 9, {"loss": 0.5}, {}).encode(epoch + 1) for epoch in range(9)]


@pytest.fixture
def parsed(monkeypatch):
    """The lines that are looked into, as JSON or by their shape."""
    looked_into = []

    def watch(name, function, is_done=bool):
        def watched(content):
            result = function(content)
            if is_done(result):
                looked_into.append(content)
            return result

        monkeypatch.setattr(name, watched)

    monkeypatch.setattr(line_shapes, "_shapes", {})
    watch("delve.journal.parsing.parse", json.loads)
    watch("delve.journal.line_shapes.epoch_line_of", line_shapes.epoch_line_of)
    return looked_into


@pytest.mark.parametrize("arguments", [["show"], ["show", "--json"], ["show", "--stat", "lsat"]])
def test_each_line_of_a_short_run_is_parsed_once(tmp_path, parsed, arguments):
    rows = [{"loss": 1 / (epoch + 1), **saturations({"fc": 0.5})} for epoch in range(10)]
    folder = write_run(tmp_path / "run", rows)
    parsed.clear()
    command, *options = arguments
    result = CliRunner().invoke(main, [command, str(folder), *options])
    assert result.exit_code == 0, result.output
    lines = (folder / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
    assert len(lines) == 11
    assert sorted(parsed) == sorted(lines)


def test_a_line_that_was_changed_is_parsed_anew():
    parser = LineParser("path")
    for content in EPOCHS * 2:
        assert parser.parse_epoch(content).epoch == json.loads(content)["epoch"]


def test_of_a_long_journal_nothing_is_kept(parsed):
    parser = LineParser("path", most_kept=sum(map(len, EPOCHS)) - 1)
    for content in EPOCHS * 2:
        parser.parse(content)
    assert parsed == EPOCHS * 2
    parser = LineParser("path", most_kept=sum(map(len, EPOCHS)))
    for content in EPOCHS * 2:
        parser.parse(content)
    assert parsed == EPOCHS * 3


def test_long_runs_are_read_without_being_kept(tmp_path, monkeypatch, parsed):
    monkeypatch.setattr("delve.journal.parsing.LineParser.__init__.__defaults__", (100,))
    folder = write_run(tmp_path / "run", [{"loss": 0.5}] * 20)
    run = read_run(folder)
    parsed.clear()
    assert [record.epoch for record in run.records] == list(range(20))
    assert len(parsed) == 20


def test_what_is_not_an_epoch_is_told():
    parser = LineParser("path")
    with pytest.raises(ValueError, match="not the line of an epoch"):
        parser.parse_epoch(StateLine("csv", {}).encode(1))
    with pytest.raises(ValueError, match="not a line of a journal"):
        parser.parse(b"[]\n")


def test_a_later_format_is_told_with_the_path():
    with pytest.raises(JournalError, match=r"runs/a/journal\.jsonl has format 7"):
        LineParser("runs/a/journal.jsonl").parse(RunLine(7, "", 0, (), {}).encode(1))
