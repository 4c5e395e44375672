"""The loggers of Delve and its writers, whose messages no terminal obeys."""

from __future__ import annotations

import logging
import traceback
from numbers import Number
from typing import Any

from delve.base.printable import printable


def get_logger(name: str) -> logging.Logger:
    """The logger of a module; whatever a message names, it reaches no handler with controls in it.

    A filter of the logger itself sees every record that is made through it, and none of others: a
    filter of the logger ``delve`` would not see those of its modules.
    """
    logger = logging.getLogger(name)
    if _spell_out not in logger.filters:
        logger.addFilter(_spell_out)
    return logger


def _spell_out(record: logging.LogRecord) -> bool:
    """Spell controls out in what a message names, and in its traceback; lets all records pass."""
    if isinstance(record.args, tuple):
        record.args = tuple(map(_spelt_out, record.args))
    if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
        told = "".join(traceback.format_exception(*record.exc_info)).removesuffix("\n")
        if (spelt := printable(told, keep="\n")) != told:
            record.exc_text = spelt  # which handlers take in place of the traceback
    return True


def _spelt_out(value: Any) -> Any:
    """A stand-in for what would not be shown as it is; all else stays what it is."""
    if isinstance(value, Number):
        return value
    try:
        is_as_shown = printable(value) == str(value)
    except Exception:  # logging tells of it where it shows the message
        is_as_shown = False
    return value if is_as_shown else _SpeltOut(value)


class _SpeltOut:
    """Shown as a value is, but for controls."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return printable(self._value)

    def __repr__(self) -> str:
        return printable(repr(self._value))
