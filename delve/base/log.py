"""The loggers of Delve and its writers, whose messages say who speaks, and no terminal obeys."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from numbers import Number
from typing import Any

from delve.base.printable import printable

SPEAKER = "delve: "  # how what is printed begins, where nothing else in it says whose it is


def get_logger(name: str) -> logging.Logger:
    """The logger of a module.

    Whatever a message names, it reaches no handler with controls in it, and none without a word on
    who speaks.

    A filter of the logger itself sees every record that is made through it, and none of others: a
    filter of the logger ``delve`` would not see those of its modules.
    """
    logger = logging.getLogger(name)
    for made_ready in (_say_who_speaks, _spell_out):
        if made_ready not in logger.filters:
            logger.addFilter(made_ready)
    return logger


def _say_who_speaks(record: logging.LogRecord) -> bool:
    """Have a message begin with "delve: " where a handler would print it without the logger's name.

    Where nobody has set up logging, Python prints the message and nothing else, as many formats do
    (rich's, absl's in Colab). ``logging.basicConfig()`` prints ``WARNING:delve.journal:`` first,
    and need not say it twice. A record that comes from another process has it already.
    """
    message = str(record.msg)
    if not message.startswith(SPEAKER) and not _is_named_by_all(record.name):
        record.msg = SPEAKER + message
    return True


def _is_named_by_all(name: str) -> bool:
    handlers = list(_handlers_of(logging.getLogger(name)))
    return bool(handlers) and all(map(_shows_names, handlers))


def _handlers_of(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    """Those that a record of this logger reaches, as :meth:`logging.Logger.callHandlers` has it."""
    while logger is not None:
        yield from (one for one in logger.handlers if not isinstance(one, logging.NullHandler))
        logger = logger.parent if logger.propagate else None


def _shows_names(handler: logging.Handler) -> bool:
    """Whether the name of a logger stands in what a handler prints, which is tried."""
    name = "name-of-a-logger"
    record = logging.LogRecord(name, logging.WARNING, "", 0, "", (), None)
    try:
        return name in handler.format(record)
    except Exception:  # it wants more of a record than all have
        return False


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
