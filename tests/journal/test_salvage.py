"""What a journal still tells that cannot be read as it stands."""

import json

import pytest
from support.journals import write_run

from delve.journal.contents import Contents, read_contents
from delve.journal.format import RunLine
from delve.journal.home import Home
from delve.journal.journal import Journal
from delve.journal.reading import JOURNAL_NAME, contents_in
from delve.journal.salvage import lines_that_tell, renew, salvage, write_anew
from delve.journal.stored_run import read_run

HEADER = RunLine(1, "f" * 32, 5, ("new",), {"new": True}, Home("/new", "machine", 1))


@pytest.fixture
def run(tmp_path):
    folder = write_run(tmp_path / "run", [{"loss": 0.5}, {"loss": 0.25}], ["fc"], {"lr": 0.5})
    journal = Journal.resume(folder, 2)
    journal.remember("csv", {"file": "metrics.csv"})
    journal.mark_opened("csv")
    journal.close()
    return folder


def damage(folder, change):
    path = folder / JOURNAL_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    lines[0] = change(lines[0])
    path.write_bytes(b"".join(lines))


def test_where_there_is_no_journal_there_is_nothing(tmp_path):
    assert salvage(tmp_path).summary == "nothing"
    assert not salvage(tmp_path).has_header


def test_a_whole_journal_tells_all(run):
    told = salvage(run)
    assert told.is_healthy
    assert told.summary == "which run it is, epochs 0-1, what csv remember"
    assert list(told.records.values()) == list(read_run(run).records)


def test_the_fields_of_a_damaged_header_that_are_whole_count(run):
    before = contents_in(run)
    damage(run, lambda line: line.replace(b'"layers"', b'"la#ers"'))
    damage(run, lambda line: b"#" * 10 + line[10:])
    told = salvage(run)
    assert not told.has_header
    assert (told.contents.run_id, told.contents.created) == (before.run_id, before.created)
    assert told.contents.config == {"lr": 0.5}
    assert told.contents.home == before.home
    assert told.contents.layers == ()
    told.identify(HEADER)
    assert told.contents.layers == ("new",)  # type: ignore[comparison-overlap]
    assert told.contents.run_id == before.run_id


def test_a_journal_without_a_header_is_renewed_and_kept(run):
    records = list(read_run(run).records)
    damage(run, lambda line: b"\n")
    assert renew(run, HEADER)
    assert list(read_run(run).records) == records
    assert read_run(run).run_id == HEADER.run_id
    assert (run / "journal.1.jsonl").read_bytes().startswith(b"\n")


def test_what_was_never_a_journal_stays(tmp_path):
    path = tmp_path / JOURNAL_NAME
    path.write_text("a letter\nof two lines\n")
    assert not renew(tmp_path, HEADER)
    assert path.read_text() == "a letter\nof two lines\n"


def test_the_lines_that_tell_it_are_read_as_the_same(run):
    with (run / JOURNAL_NAME).open("rb") as file:
        before = read_contents(file)
    told = salvage(run)
    write_anew(run, lines_that_tell(before, told.records, before.sound))
    after = contents_in(run)
    for name in ("run_id", "created", "config", "layers", "states", "sound", "home", "origin"):
        assert getattr(after, name) == getattr(before, name)
    assert list(after.places) == list(before.places)
    assert list(read_run(run).records) == list(told.records.values())
    numbers = [json.loads(line)["line"] for line in (run / JOURNAL_NAME).read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_contents_that_know_nothing_are_told_from_a_header(tmp_path):
    told = salvage(tmp_path)
    told.identify(HEADER)
    write_anew(tmp_path, lines_that_tell(told.contents, {}))
    assert contents_in(tmp_path).run_id == HEADER.run_id
    assert Contents().run_id == ""
