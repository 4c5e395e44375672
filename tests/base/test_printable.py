"""What a terminal would obey is spelt out, and all else is left alone."""

import sys
import unicodedata

import pytest

from delve.base.printable import printable
from delve.errors import DelveError, JournalError

DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),  # the same as ESC [, in one character
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("one\u2028two", r"one\u2028two"),
        ("\0", r"\x00"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_is_obeyed_is_spelt_out(text, expected):
    assert printable(text) == expected


@pytest.mark.parametrize(
    "text", ["layer1.0.conv1", r"C:\runs", "größe 🧪", "می‌خواهم", "👩‍🔬", "a\u00a0b", "e\u0301"]
)
def test_what_is_only_shown_stays(text):
    assert printable(text) == text


def test_every_control_separator_and_mark_of_direction_is_spelt_out():
    for number in range(sys.maxunicode + 1):
        sign = chr(number)
        obeyed = (
            unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")
            or unicodedata.bidirectional(sign) in DIRECTIONS
        )
        assert not obeyed or printable(sign).isascii(), hex(number)


def test_line_breaks_of_a_message_may_stay():
    assert printable("one\ntwo\x1b", keep="\n") == "one\ntwo\\x1b"


def test_no_error_of_delve_shows_controls():
    assert str(JournalError("/runs/\x1b[2J\nis torn")) == "/runs/\\x1b[2J\nis torn"
    assert DelveError("\x1b").args == ("\x1b",)
