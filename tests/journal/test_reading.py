"""What others want to know of the journal in a folder."""

import pytest
from support.journals import write_run

from delve.errors import JournalError
from delve.journal.journal import Journal
from delve.journal.lines import encode
from delve.journal.reading import (
    JOURNAL_NAME,
    contents_in,
    holds_run,
    next_epoch,
    open_journal,
    read_epochs,
)


def goes_on_at(folder):
    return next_epoch(folder, contents_in(folder))


def test_a_folder_without_a_journal_tells_nothing(tmp_path):
    assert read_epochs(tmp_path) is None
    assert contents_in(tmp_path) is None
    assert not holds_run(tmp_path, "")
    with pytest.raises(FileNotFoundError):
        open_journal(tmp_path / JOURNAL_NAME)


@pytest.mark.parametrize("content", [b"", b'{"type": "run", "form'])
def test_a_run_that_was_killed_before_its_first_line_has_recorded_nothing(tmp_path, content):
    (tmp_path / JOURNAL_NAME).write_bytes(content)
    assert read_epochs(tmp_path) == []
    assert goes_on_at(tmp_path) == 0


def test_a_run_goes_on_after_its_last_epoch_or_at_its_last_resume(tmp_path):
    write_run(tmp_path, [{"loss": 0.5}] * 3)
    assert goes_on_at(tmp_path) == 3
    Journal.resume(tmp_path, 7).close()
    assert goes_on_at(tmp_path) == 7
    Journal.resume(tmp_path, 1).close()
    assert goes_on_at(tmp_path) == 1


def test_where_no_line_tells_it_nobody_guesses(tmp_path):
    write_run(tmp_path, [])
    with (tmp_path / JOURNAL_NAME).open("ab") as file:
        file.write(b"what was an epoch\n")
    with pytest.raises(JournalError, match=r"holds no epoch that can be read.*: 2; give initial_"):
        goes_on_at(tmp_path)


def test_the_run_is_that_of_the_last_line_that_says_so(tmp_path):
    write_run(tmp_path, [{"loss": 0.5}])
    first = contents_in(tmp_path).run_id
    assert holds_run(tmp_path, first)
    assert not holds_run(tmp_path, "another")
    with (tmp_path / JOURNAL_NAME).open("ab") as file:
        file.write(b'{"type": "fork", "run_id": "dam\n')
        file.write(encode({"type": "fork", "run_id": ["no name"], "origin": "", "home": {}}, 3))
    assert holds_run(tmp_path, first)
    with (tmp_path / JOURNAL_NAME).open("ab") as file:
        file.write(encode({"type": "fork", "run_id": "copy", "origin": "/a", "home": {}}, 4))
    assert holds_run(tmp_path, "copy")
    assert not holds_run(tmp_path, first)
