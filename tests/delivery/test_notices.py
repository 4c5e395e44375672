"""What a person is told of a writer's faults."""

import logging
from pathlib import Path

import pytest

from delve.delivery.notices import LONGEST_REASON, Notices, describe


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("first\nsecond"), "ValueError: first"),
        (ValueError("\n  first\nsecond"), "ValueError: first"),
        (ConnectionError(), "ConnectionError"),
        (OSError("x" * 2000), "OSError: " + "x" * LONGEST_REASON),
    ],
)
def test_an_error_is_described_in_a_line(error, told):
    assert describe(error) == told


def test_slowness_is_named_once(caplog):
    notices = Notices("it")
    notices.slow(3.25, 60.0)
    notices.slow(4.0, 60.0)
    assert caplog.messages == [
        "writer 'it' is slow (3.2 s for what it got last) and falls behind: within the training "
        "it is fed for at most 5 % of the time, and what it lacks at the end for 60 s, or as long "
        "as `patience` says"
    ]


@pytest.mark.parametrize(
    ("writer", "way"),
    [
        ("print", "`delve export 'a run' --to print` delivers them"),
        ("Mine", "resume the run with this writer in save_to to deliver them"),
    ],
)
def test_what_was_not_delivered_is_named_with_the_way_to_it(writer, way, tmp_path, caplog):
    Notices(writer).undelivered([1, 2, 3, 7], tmp_path / "journal.jsonl", Path("a run"))
    assert caplog.messages == [
        f"writer {writer!r} did not get epochs 1-3, 7; they are in {tmp_path}/journal.jsonl: {way}"
    ]


def test_tracebacks_are_there_for_who_asks_and_for_nobody_else(caplog):
    caplog.set_level(logging.DEBUG)
    notices, failure = Notices("it"), ConnectionError("down")
    notices.failed(failure, 3)
    notices.traceback(failure)
    notices.failed_to_close(failure)
    notices.traceback_of_closing(failure)
    by_level = [(record.levelname, bool(record.exc_info)) for record in caplog.records]
    assert by_level == 2 * [("WARNING", False), ("DEBUG", True)]
