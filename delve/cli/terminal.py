"""What the commands say on a terminal: lines and tables, in colours where a person looks."""

from __future__ import annotations

import errno
import select
import shutil
import sys
from collections.abc import Iterator, Sequence

import click
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from delve.base.bar import EMPTY, FULL
from delve.base.printable import printable

GAP = 2  # characters between columns
_NARROWEST = 30  # characters of a last column that is wrapped
_IN_ASCII = str.maketrans({FULL: "#", EMPTY: "."})  # where an encoding has no bars


def say(line: object, err: bool = False) -> None:
    """Print one line, of which the terminal obeys nothing.

    Args:
        line: What to say.
        err: Whether to say it on stderr.
    """
    click.echo(printable(line), err=err)


def say_parts(*parts: RenderableType) -> None:
    """Print tables and texts below each other: in colours on a terminal, plain anywhere else.

    All text in them has gone through :func:`text`, and the terminal obeys nothing of it.
    """
    console = _console(terminal_width())
    has_bars = _can_write(FULL + EMPTY, console.encoding)
    for part in parts:
        for line in _lines(console, part):
            told = line if has_bars else line.translate(_IN_ASCII)
            click.echo(told, color=console.color_system is not None)


def text(told: object, style: str = "") -> Text:
    """Text of which the terminal obeys nothing, and in which no bracket is read as a style."""
    return Text(printable(told, keep="\n"), style)


def columns(first: int | None, others: int, count: int) -> Table:
    """A table for rows of a name and values, without rules or headings.

    The gaps are parts of the columns: before 14.3 rich counts one behind the last column, too, and
    cuts columns for it.

    Args:
        first: The width of the names' column; by default as wide as they are.
        others: The width of each other column.
        count: How many others there are.
    """
    table = Table.grid()
    table.add_column(width=first, no_wrap=True)
    for _ in range(count):
        table.add_column(width=GAP + others)
    return table


def after_gap(cell: RenderableType) -> Padding:
    """A cell of :func:`columns`, wrapped as it needs."""
    return Padding(cell, (0, 0, 0, GAP))


def listing(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Rows under headings, each column as wide as its widest cell; the last one is wrapped."""
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    *names, last = headings
    for name in names:
        table.add_column(text(name), no_wrap=True)
    table.add_column(text(last), min_width=_NARROWEST, overflow="fold")
    for row in rows:
        table.add_row(*map(text, row))
    return table


def terminal_width() -> int:
    """In characters; 80 where there is no terminal."""
    return shutil.get_terminal_size().columns


def check_reader() -> None:
    """End the command quietly where nobody reads its output any more, such as after ``| head``.

    Raises:
        BrokenPipeError: Nobody does.
    """
    try:
        output = sys.stdout.fileno()
    except OSError:  # it is no file
        return
    if hasattr(select, "poll"):  # not on Windows
        poll = select.poll()
        poll.register(output, 0)  # errors are told of in any case
        if poll.poll(0):
            raise BrokenPipeError(errno.EPIPE, "nobody reads the output")


def _console(width: int) -> Console:
    """A console that reads nothing into a text: no style, no emoji, no number to colour."""
    return Console(
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        force_jupyter=False,
        legacy_windows=False,
    )


def _lines(console: Console, part: RenderableType) -> Iterator[str]:
    """A part as lines, without the blanks that fill a table's last column."""
    with console.capture() as capture:
        console.print(part)
    for line in capture.get().splitlines():
        yield line.rstrip()


def _can_write(signs: str, encoding: str) -> bool:
    try:
        signs.encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True
