"""What is said of a damaged journal when a run goes on from it."""

from pathlib import Path

from delve.journal.contents import Contents
from delve.journal.damage import report_damage

PATH = Path("runs/a/journal.jsonl")


def said(caplog, initial_epoch, **found):
    caplog.clear()
    report_damage(PATH, Contents(**found), initial_epoch)
    return [record.getMessage() for record in caplog.records]


def test_of_a_whole_journal_nothing_is_said(caplog):
    assert said(caplog, 2, places={0: (0, 1), 1: (1, 1)}) == []


def test_each_kind_of_damage_is_named_once(caplog):
    messages = said(caplog, 0, damaged_lines=[2, 3, 4], misplaced_lines=[7], lost_lines=5)
    assert [message.removeprefix(str(PATH)) for message in messages] == [
        ": unreadable lines: 2-4",
        ": lines that were repeated or moved are read where they belong: 7",
        ": 5 lines are gone from it; what backends hold beside it is kept where it may be of those",
    ]


def test_missing_epochs_are_named_in_ranges_however_many_they_are(caplog):
    (message,) = said(caplog, 10**12, places=dict.fromkeys([1, 4, 10**11], (0, 1)))
    assert "no record of epochs 0, 2-3, 5-99999999999, 100000000001-999999999999;" in message
    (message,) = said(caplog, 3)
    assert "no record of epochs 0-2;" in message
